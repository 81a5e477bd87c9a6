"""Whether enrolment recordings hold one voice: CAM++ vectors of pieces of their speech.

Thresholds: docs/measured/speaker_encoders.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.features import trim_silence
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder

LEAST_SECONDS = 1.2
"""Seconds of speech from which a voice can be compared."""


class Limits(NamedTuple):
    """Cosines between voices.

    Attributes:
        different: below it, there are two voices.
        doubtful: below it, there may be two.
    """

    different: float
    doubtful: float


SHORT, LONG = Limits(0.05, 0.35), Limits(0.25, 0.5)
"""Of two recordings, the shorter with less than 4 s of speech, and with more."""
PARTS = Limits(0.2, 0.45)
"""Of the two most different parts of one recording."""

_PIECE_SECONDS = 2.0
_MOST_PIECES = 60  # two minutes; more would take seconds to hear
_LEAST_PIECES = 2  # of a voice: a single odd piece may be a laugh
_ROUNDS = 10


class Split(NamedTuple):
    """The two most different parts of one recording.

    Attributes:
        similarity: cosine of their mean vectors; 1 where there are not enough pieces.
        seconds: of the shorter part.
    """

    similarity: float
    seconds: float


def piece_vectors(encoder: OnnxSpeakerEncoder, wave: np.ndarray) -> np.ndarray:
    """Vectors of equal pieces of the speech in a recording, of 2 s or a little more.

    Args:
        encoder: CAM++.
        wave: float32 (N,) at 16 kHz with some speech.

    Returns:
        float32 (P, D), unit norm; P = 0 where the speech is shorter than
        `LEAST_SECONDS`. Of more than two minutes 60 pieces are taken.
    """
    try:
        speech = trim_silence(wave)
    except UserError:  # next to nothing
        speech = wave[:0]
    if len(speech) < LEAST_SECONDS * SAMPLE_RATE:
        return np.zeros((0, encoder.dim), np.float32)
    count = max(1, int(len(speech) / (_PIECE_SECONDS * SAMPLE_RATE)))
    length = len(speech) // count
    taken = np.unique(np.linspace(0, count - 1, min(count, _MOST_PIECES)).astype(int))
    pieces = [speech[k * length : (k + 1) * length] for k in taken]
    return np.stack([encoder.embed(piece) for piece in pieces])


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Cosine of the mean vectors of two recordings: (P, D), (Q, D)."""
    first, second = _mean(one), _mean(other)
    return float(first @ second)


class Pair(NamedTuple):
    """Two recordings.

    Attributes:
        margin: similarity less what is doubtful for recordings of their length.
        first, second: their indices.
        similarity: cosine of their mean vectors.
        limits: for recordings of their length.
    """

    margin: float
    first: int
    second: int
    similarity: float
    limits: Limits


def least_alike(recordings: Sequence[np.ndarray]) -> Pair | None:
    """The two recordings that are least likely to be of one voice.

    Args:
        recordings: (P, D) each, with P >= 1.

    Returns:
        the pair with the least margin; None for fewer than two recordings.
    """
    pairs = []
    for second, theirs in enumerate(recordings):
        for first, ours in enumerate(recordings[:second]):
            limits = LONG if min(len(ours), len(theirs)) > 1 else SHORT
            alike = similarity(ours, theirs)
            pairs.append(Pair(alike - limits.doubtful, first, second, alike, limits))
    return min(pairs, default=None)


def split(vectors: np.ndarray) -> Split:
    """Divide the pieces (P, D) of one recording into the two most different parts.

    Two means, started from the two pieces that are least alike.
    """
    if len(vectors) < 2 * _LEAST_PIECES:
        return Split(1.0, 0.0)
    cosines = vectors @ vectors.T  # [P, P]
    ends = np.unravel_index(cosines.argmin(), cosines.shape)
    centres = vectors[list(ends)]  # [2, D]
    for _ in range(_ROUNDS):
        nearer = vectors @ centres[0] >= vectors @ centres[1]
        if nearer.all() or not nearer.any():
            return Split(1.0, 0.0)
        centres = np.stack([_mean(vectors[nearer]), _mean(vectors[~nearer])])
    fewer = int(min(nearer.sum(), (~nearer).sum()))
    if fewer < _LEAST_PIECES:
        return Split(1.0, 0.0)
    return Split(float(centres[0] @ centres[1]), fewer * _PIECE_SECONDS)


def _mean(vectors: np.ndarray) -> np.ndarray:
    """Unit vector (D,) in the middle of (P, D)."""
    mean = vectors.mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
