"""Knocks, keys, doors and clicks, synthesized: short, loud, and never the same."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE

KINDS = ("click", "key", "knock", "door")
"""From a single spike to 80 ms."""
_SECONDS = {
    "click": (0.0005, 0.005),
    "key": (0.005, 0.03),
    "knock": (0.015, 0.06),
    "door": (0.03, 0.08),
}
_MODES = {
    "click": (0, (1000.0, 7000.0)),
    "key": (3, (1500.0, 6000.0)),
    "knock": (5, (80.0, 1500.0)),
    "door": (6, (40.0, 600.0)),
}
_TAIL = 3.0  # lengths of the decay that are rendered: 26 dB


def transient(kind: str, seed: int) -> np.ndarray:
    """Render one.

    A burst of noise excites a few decaying resonances, as a struck object does.

    Args:
        kind: one of `KINDS`.
        seed: decides everything else.

    Returns:
        float32 (samples,), peak 1.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    low, high = _SECONDS[kind]
    seconds = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    time = np.arange(max(2, round(_TAIL * seconds * SAMPLE_RATE))) / SAMPLE_RATE
    decay = np.exp(-time / seconds)
    sound = rng.uniform(0.2, 1.0) * rng.standard_normal(len(time)) * decay**3
    modes, band = _MODES[kind]
    for _ in range(modes):
        frequency = float(np.exp(rng.uniform(*np.log(band))))
        phase, own = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.0)
        wave = np.sin(2 * np.pi * frequency * time + phase)
        sound += rng.uniform(0.3, 1.0) * wave * decay**own
    return (sound / np.abs(sound).max()).astype(np.float32)
