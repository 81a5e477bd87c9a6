"""How speaker encoders cut signals: pieces of an enrolment, windows of a mixture."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime import fbank
from espnet_pse_kd.runtime.features import HOP

WINDOW_HOP = 4000
"""Samples between the centres of window vectors (4 per second)."""
GE2E_WINDOW_SECONDS = 0.8
"""Length of GE2E's sliding window.

Two speakers of LibriSpeech taking turns of 0.8 to 2.2 s in noise (SNR 0..15 dB): the
cosine of GE2E windows to the enrolment, by itself, tells target from interferer with
AUC 0.838 at 0.8 s, 0.837 at 1.0 s, 0.824 at 1.2 s, 0.785 at 1.6 s. Where the speakers
overlap and the target pauses for 1 to 3 s, 0.8 to 1.2 s are equal (0.772 to 0.776).
The shortest costs least.
"""
CAMPP_WINDOW_SECONDS = 1.2
"""Length of CAM++'s sliding window: docs/measured/speaker_encoders.md."""
PARTIAL_FRAMES = 160
"""Length of the pieces into which GE2E cuts an utterance (1.6 s)."""

_PARTIAL_STEP = 77  # frames between pieces: 1.3 per second
_MIN_COVERAGE = 0.75  # share of the last piece that must lie inside the utterance

_LONGEST_PIECE = 1000  # frames of an enrolment that CAM++ hears at once (10 s)
_LEAST_FRAMES = 10  # of which CAM++'s statistics are defined
LEAST_SAMPLES = fbank.WINDOW + (_LEAST_FRAMES - 1) * HOP
"""Samples to which a shorter signal is padded for CAM++."""


def check_hop(hop: int) -> None:
    """Raise `ValueError` where windows would begin between two frames."""
    if hop % HOP:
        raise ValueError(f"hop must be a multiple of {HOP} samples, not {hop}")


def piece_starts(samples: int) -> list[int]:
    """First frames of an utterance's pieces, as the published GE2E encoder cuts it."""
    frames = samples // HOP + 1
    starts = list(
        range(0, max(1, frames - PARTIAL_FRAMES + _PARTIAL_STEP + 1), _PARTIAL_STEP)
    )
    coverage = (samples / HOP - starts[-1]) / PARTIAL_FRAMES
    if coverage < _MIN_COVERAGE and len(starts) > 1:
        starts.pop()
    return starts


def equal_pieces(frames: int) -> np.ndarray:
    """Frames of an utterance's pieces, all of one length of at most 10 s.

    Args:
        frames: T >= 1.

    Returns:
        int (P, L) indices that cover all frames; neighbours may share some.
    """
    count = -(-frames // _LONGEST_PIECE)
    length = -(-frames // count)
    starts = np.linspace(0, frames - length, count).round().astype(int)
    return starts[:, None] + np.arange(length)


def window_frames(samples: int, hop: int, window_seconds: float) -> np.ndarray:
    """Frames of CAM++'s windows of a mixture.

    A window that would reach beyond an end is moved inside: there is no silence that
    the logarithm of a spectrum could be padded with. A mixture shorter than a window is
    one window.

    Args:
        samples: N >= `LEAST_SAMPLES`.
        hop: samples between centres, a multiple of 160.
        window_seconds: length of a window.

    Returns:
        int (K, L), ``K = ceil(N / hop) + 1``.
    """
    check_hop(hop)
    half = round(window_seconds * SAMPLE_RATE / HOP / 2)
    frames = fbank.frame_count(samples)
    length = max(_LEAST_FRAMES, fbank.frame_count(2 * half * HOP))
    length = min(length, frames)
    centres = hop // HOP * np.arange(-(-samples // hop) + 1)
    starts = np.clip(centres - half, 0, frames - length)
    return starts[:, None] + np.arange(length)
