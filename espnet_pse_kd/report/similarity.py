"""How alike the voices of a trial are, by the vectors of the speakers' enrolments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from espnet_pse_kd.enrolment_vectors import EnrolmentVectors


def vectors_file(dumpdir: Path, test_set: str) -> Path:
    """Vectors of the enrolment clips of a set in ``dumpdir``, the ``dump/raw``."""
    return dumpdir.parent / "enroll" / test_set.partition("_")[0] / "vectors.npz"


def speaker_directions(vectors: EnrolmentVectors) -> dict[str, np.ndarray]:
    """Mean vector (D,) of each speaker's clips, less the mean of all, unit norm.

    All vectors share a large common part, and cosines with it differ by little; without
    it they are spread around zero.
    """
    names = list(dict.fromkeys(vectors.speakers))
    owner = np.array(vectors.speakers)
    means = np.stack([vectors.vectors[owner == name].mean(0) for name in names])
    centred = means - means.mean(0)  # (S, D), every speaker counts once
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    # The mean itself, as of a single speaker, has no direction.
    return dict(zip(names, centred / np.maximum(norm, 1e-6)))


def similarity(
    directions: Mapping[str, np.ndarray], target: str, interferer: str
) -> float:
    """Cosine of two speakers; NaN where one of them has no vector, or is nobody."""
    if target not in directions or interferer not in directions:
        return math.nan
    return float(directions[target] @ directions[interferer])


def add_similarity(rows: list[dict[str, str]], vectors: Path) -> None:
    """Give rows of scores their column ``voice_similarity``, empty where undefined.

    Args:
        rows: of one test set, with columns ``target`` and ``interferer``.
        vectors: ``vectors.npz``; where there is none, the column is empty.

    Raises:
        UserError: the file is damaged.
    """
    known = vectors.is_file()
    directions = speaker_directions(EnrolmentVectors.load(vectors)) if known else {}
    for row in rows:
        cosine = similarity(directions, row["target"], row["interferer"])
        row["voice_similarity"] = "" if math.isnan(cosine) else f"{cosine:.6g}"
