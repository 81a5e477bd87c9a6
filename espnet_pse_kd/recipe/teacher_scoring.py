"""Score a personal VAD before it teaches: per scenario, printed and written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.metrics.teacher import (
    Frames,
    average_precision,
    calibration_error,
    pool,
    reliability,
    tss_ntss_auc,
)

SUBSTITUTE = "ts2"
"""Scenario that lends the class another lacks: it has both kinds of speech."""


class Utterance(NamedTuple):
    """What the teacher said about one trial.

    Attributes:
        uid: key of the trial.
        scenario: ``ts0`` .. ``ts3``.
        posterior: (T, 3) for ns, ntss, tss, rows summing to one.
        label: int (T,), see `activity.vad_classes`; negative frames are left out.
    """

    uid: str
    scenario: str
    posterior: np.ndarray
    label: np.ndarray


def score_teacher(
    utterances: Iterable[Utterance],
    folder: Path,
    label: str | None = None,
    name: str = "teacher_scores.json",
) -> dict[str, Any]:
    """Write the scores into the teacher's folder and print their table.

    Args:
        utterances: posteriors and labels at one frame rate, any order.
        folder: ``exp/pvad_*``.
        label: name in the printed table, default the folder's.
        name: of the file.

    Returns:
        ``{"scenarios": {name: scores}, "all": scores}`` with scores
        ``average_precision`` (per class), ``auc``, ``calibration_error``,
        ``reliability``, ``frames``; None where a score is undefined. The AUC of TS3
        takes its target speech, that of TS1 its other speech, from TS2.

    Raises:
        UserError: there are no utterances, or posteriors and labels do not fit.
    """
    scenarios = _gather(utterances, folder)
    lender = scenarios.get(SUBSTITUTE)
    scores = {
        "scenarios": {
            name: _scores(frames, lender) for name, frames in sorted(scenarios.items())
        },
        "all": _scores(pool(scenarios), None),
    }
    with atomic_open(folder / name) as file:
        json.dump(scores, file, indent=1, allow_nan=False)
        file.write("\n")
    print(format_scores(scores, label or folder.name), flush=True)
    return scores


def _gather(utterances: Iterable[Utterance], folder: Path) -> dict[str, Frames]:
    parts: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        shape, count = np.shape(utterance.posterior), len(utterance.label)
        if shape != (count, 3):
            raise UserError(
                f"{folder}: {utterance.uid}: posteriors {shape} for {count} labels; "
                "the teacher was trained at another frame rate, train it again"
            )
        if not np.isfinite(utterance.posterior).all():
            raise UserError(
                f"{folder}: {utterance.uid}: posteriors are not finite; "
                "train the teacher again"
            )
        parts.setdefault(utterance.scenario, []).append(utterance)
    if not parts:
        raise UserError(f"{folder}: no utterances to score; run stage 2 again")
    return {name: _frames(some) for name, some in parts.items()}


def _frames(utterances: list[Utterance]) -> Frames:
    label = np.concatenate([utterance.label for utterance in utterances])
    posterior = np.concatenate([utterance.posterior for utterance in utterances])
    return Frames(posterior[label >= 0], label[label >= 0])


def _scores(frames: Frames, lender: Frames | None) -> dict[str, Any]:
    precision = average_precision(frames)
    return {
        "average_precision": {name: _known(v) for name, v in precision.items()},
        "auc": _known(tss_ntss_auc(frames, lender)),
        "calibration_error": _known(calibration_error(frames)),
        "reliability": reliability(frames),
        "frames": len(frames.label),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def format_scores(scores: Mapping[str, Any], label: str) -> str:
    """The table that is printed, fixed width, with the pooled reliability below it."""
    lines = [f"{label:<12} {'frames':>9} AP: ns  ntss   tss  |  AUC  |  ECE"]
    for name, row in [*scores["scenarios"].items(), ("all", scores["all"])]:
        ap = row["average_precision"]
        cells = [_cell(ap[k]) for k in ("ns", "ntss", "tss")]
        auc, ece = _cell(row["auc"]), _cell(row["calibration_error"])
        lines.append(
            f"{name:<12} {row['frames']:>9} {' '.join(cells)}  | {auc} | {ece}"
        )
    lines.append("tss posterior, pooled: mean -> observed share (frames)")
    lines += [
        f"  {row['confidence']:.3f} -> {row['observed']:.3f} ({row['frames']})"
        for row in scores["all"]["reliability"]
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "    -" if value is None else f"{value:.3f}"
