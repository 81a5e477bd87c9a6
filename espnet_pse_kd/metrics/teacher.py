"""Scores of the personal VAD before it is used as a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from espnet_pse_kd.activity import CLASSES, NTSS, TSS


@dataclass(frozen=True)
class Frames:
    """Posteriors and labels of the frames of one scenario.

    Attributes:
        posterior: (T, 3) for ns, ntss, tss, rows summing to one.
        label: int (T,)
    """

    posterior: np.ndarray
    label: np.ndarray


def average_precision(frames: Frames) -> dict[str, float]:
    """Average precision of each class against the rest; NaN where a class is absent."""
    from sklearn.metrics import average_precision_score

    return {
        name: float(
            average_precision_score(frames.label == index, frames.posterior[:, index])
        )
        if (frames.label == index).any()
        else float("nan")
        for index, name in enumerate(CLASSES)
    }


def tss_ntss_auc(frames: Frames, substitute: Frames | None = None) -> float:
    """Area under the ROC of the tss posterior, target against non-target speech.

    Args:
        frames: of one scenario.
        substitute: frames that lend the class which the scenario lacks (TS3 has no
            target speech, TS1 no other), usually those of TS2.

    Returns:
        0.5 for chance, 1 for perfect; NaN where a class is still missing.
    """
    from sklearn.metrics import roc_auc_score

    scores = []
    for index in (NTSS, TSS):
        score = frames.posterior[frames.label == index, TSS]
        if not score.size and substitute is not None:
            score = substitute.posterior[substitute.label == index, TSS]
        scores.append(score)
    if not all(score.size for score in scores):
        return float("nan")
    label = np.repeat([0, 1], [len(score) for score in scores])
    return float(roc_auc_score(label, np.concatenate(scores)))


def reliability(frames: Frames, bins: int = 10) -> list[dict[str, float]]:
    """Reliability table of the tss posterior.

    Returns:
        One row per equally wide bin that holds frames: ``low``, ``high``, ``frames``,
        ``confidence`` (mean posterior), ``observed`` (share of tss frames).
    """
    q, hit = frames.posterior[:, TSS], frames.label == TSS
    index = np.minimum((q * bins).astype(int), bins - 1)
    return [
        {
            "low": k / bins,
            "high": (k + 1) / bins,
            "frames": int(chosen.sum()),
            "confidence": float(q[chosen].mean()),
            "observed": float(hit[chosen].mean()),
        }
        for k in range(bins)
        if (chosen := index == k).any()
    ]


def calibration_error(frames: Frames, bins: int = 10) -> float:
    """Expected calibration error of the tss posterior, 0..1; NaN without frames."""
    rows = reliability(frames, bins)
    total = sum(row["frames"] for row in rows)
    if not total:
        return float("nan")
    gaps = (row["frames"] * abs(row["confidence"] - row["observed"]) for row in rows)
    return float(sum(gaps) / total)


def pool(scenarios: Mapping[str, Frames]) -> Frames:
    """Frames of all scenarios together."""
    return Frames(
        np.concatenate([frames.posterior for frames in scenarios.values()]),
        np.concatenate([frames.label for frames in scenarios.values()]),
    )
