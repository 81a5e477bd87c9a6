"""Rows of a small scores.csv."""

import numpy as np

METHODS = ("b1", "b2", "s", "r_log")
TRIALS = 6
SHIFT = {"b1": 0.0, "b2": -1.0, "s": 0.5, "r_log": 0.5}
"""What a method's SI-SDRi is above that of b1, in dB."""


def row(system, seed, scenario, k, **figures):
    """A row of scores.csv; its figures rise with ``k`` and with the system's shift."""
    rng = np.random.default_rng([k, len(scenario)])
    level = rng.normal() + SHIFT.get(system, 0.0)
    return {
        "system": system,
        "seed": seed,
        "set": f"test_{scenario}",
        "uid": f"{scenario}_{k:02d}",
        "scenario": scenario,
        "seconds": 1.0,
        "target": f"speaker{k // 2}",
        "measured_room": "False",
        "si_sdr": level,
        "si_sdri": level,
        "wrong_speaker": float(k in (2, 4)),
        "tsos": 0.1 + 0.01 * k,
        "deletion": 0.05,
        "leakage_reduction": 20 + k + 2 * SHIFT.get(system, 0.0),
        **figures,
    }


def all_rows():
    rows = []
    for scenario in ("ts1", "ts2", "ts3"):
        undefined = dict.fromkeys(("si_sdr", "si_sdri", "wrong_speaker", "tsos"), None)
        undefined |= {"deletion": None}
        figures = undefined if scenario == "ts3" else {}
        for system, seed in (("noisy", ""), ("clean", ""), *((m, 0) for m in METHODS)):
            for k in range(TRIALS):
                rows.append(row(system, seed, scenario, k, **figures))
    return rows
