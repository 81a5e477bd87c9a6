"""The weight of the gate's control without timing, from what the teacher said.

Stage 4 counts the teacher's posteriors on the frames that a gate may close; the mean
soft weight of any exponent follows from these counts. So the control has the exponent,
the frames and the scope of the gate that it stands beside, whatever they are.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.errors import UserError

FILE = "gate.json"
BINS = 1000
"""Bins of a posterior, 0 to 1: a mean weight is exact to about 0.001."""
FRAMES = ("nontarget_speech", "nontarget")
SCOPES = ("all", "its")


def kinds() -> Iterator[tuple[str, str]]:
    """Every pair of `gate.Gate`'s options ``frames`` and ``scope``."""
    return itertools.product(FRAMES, SCOPES)


def key_of(frames: str, scope: str) -> str:
    """What ``gate.json`` calls the frames of a gate with these options."""
    return f"{frames}/{scope}"


def counts(posterior: np.ndarray) -> list[int]:
    """How many of the posteriors (K,) of target speech lie in each of `BINS` bins."""
    return np.histogram(posterior, BINS, (0.0, 1.0))[0].tolist()


def gate_constant(teacher: Path | None, gate: Mapping[str, Any]) -> float:
    """Mean soft weight over the gated training frames, measured with the teacher.

    Args:
        teacher: folder of the personal VAD.
        gate: ``gate_conf`` of the control; its ``kappa``, ``frames`` and ``scope`` are
            those of the soft gate whose mean weight it has.

    Raises:
        UserError: it was not measured, or such a gate applies to no frame.
    """
    path = Path(teacher or "exp/pvad") / FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 4 (teacher scores) again")
    measured = json.loads(path.read_text(encoding="utf-8")).get("posteriors", {})
    key = key_of(gate.get("frames", FRAMES[0]), gate.get("scope", SCOPES[0]))
    if key not in measured:
        raise UserError(
            f"{path}: no posteriors of {key}; run stage 4 (teacher scores) again"
        )
    found = np.array(measured[key], dtype=float)
    if not found.sum():
        raise UserError(
            f"{path}: a gate with frames and scope {key} applies to no training frame; "
            "simulate inactive-target samples, or choose other gate_conf"
        )
    posterior = (np.arange(len(found)) + 0.5) / len(found)
    weights = (1 - posterior) ** float(gate.get("kappa", 1.0))
    return round(float((found * weights).sum() / found.sum()), 4)
