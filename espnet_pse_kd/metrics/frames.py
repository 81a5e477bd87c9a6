"""What the frame-wise metrics share: spectra, powers and shares on NumPy arrays."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from espnet_pse_kd import activity as labels
from espnet_pse_kd.stft import HOP, stft

SAMPLE_RATE = 16000
RUN_SECONDS = 0.2
RUN_FRAMES = int(np.ceil(RUN_SECONDS * SAMPLE_RATE / HOP))
"""Frames (16 ms apart) in the 200 ms of the deletion and leakage metrics: 13."""


def _tensor(signal: ArrayLike) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(signal, np.float64))


def magnitude(signal: ArrayLike) -> np.ndarray:
    """STFT magnitudes of a signal (N,): float64 (T, 257)."""
    return stft(_tensor(signal)).abs().numpy()


def power(signal: ArrayLike) -> np.ndarray:
    """Mean square of the 32 ms frames of a signal (N,): float64 (T,)."""
    return labels.frame_power(_tensor(signal)).numpy()


def active(signal: ArrayLike) -> np.ndarray:
    """Activity of a clean signal (N,), not widened: bool (T,)."""
    return labels.activity(_tensor(signal)).numpy()


def share(flags: ArrayLike, among: ArrayLike) -> float:
    """Share of the frames in ``among`` whose flag is set; NaN where there are none."""
    flags, among = np.asarray(flags, bool), np.asarray(among, bool)
    count = int(among.sum())
    return float((flags & among).sum() / count) if count else float("nan")


def long_runs(flags: ArrayLike, frames: int = RUN_FRAMES) -> np.ndarray:
    """Keep the flags (T,) that stand in an unbroken run of at least ``frames``."""
    padded = np.concatenate([[False], np.asarray(flags, bool), [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    kept = np.zeros(len(padded) - 2, bool)
    for start, end in edges.reshape(-1, 2):
        kept[start:end] = end - start >= frames
    return kept
