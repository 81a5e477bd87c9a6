"""Kaldi's log mel filterbank in numpy, as CAM++ was trained on it.

Frames of 25 ms every 10 ms that lie inside the signal (``snip_edges``), mean removed,
pre-emphasis 0.97, Povey window, power spectrum of 512 points, 80 triangles on the mel
scale of HTK from 20 Hz to 8 kHz, natural logarithm; no dither, no energy.
"""

from __future__ import annotations

import functools

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE

WINDOW = 400
"""Window of a frame in samples (25 ms)."""
HOP = 160
"""Hop of the frames in samples (10 ms)."""
BANDS = 80
FFT = 512
PREEMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)
"""Least energy of a band; full scale is 1."""

_LOWEST_HZ = 20.0
_CHUNK = 4096  # frames per transform: bounds memory


def frame_count(samples: int) -> int:
    """Number of frames that lie inside ``samples`` samples."""
    return max(0, 1 + (samples - WINDOW) // HOP)


def _mel(hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)


@functools.cache
def filterbank() -> np.ndarray:
    """Triangles of equal height on the mel scale: float32 (257, 80)."""
    bins = _mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT)  # [F]
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(SAMPLE_RATE / 2), BANDS + 2)
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (center - left)
    falling = (right - bins[:, None]) / (right - center)
    return np.minimum(rising, falling).clip(0).astype(np.float32)


@functools.cache
def povey_window() -> np.ndarray:
    """Hann's window to the power of 0.85: float32 (400,)."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / (WINDOW - 1))
    return (hann**0.85).astype(np.float32)


def log_fbank(wave: np.ndarray) -> np.ndarray:
    """Log mel energies; frame ``t`` covers the samples from ``160 t`` to 160 t + 400.

    Args:
        wave: float32 (N,) at 16 kHz, full scale 1.

    Returns:
        float32 (T, 80), ``T = frame_count(N)``; nothing is subtracted.
    """
    if len(wave) < WINDOW:
        return np.zeros((0, BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(wave, WINDOW)[::HOP]  # [T, W]
    parts = (
        _log_energies(frames[start : start + _CHUNK])
        for start in range(0, len(frames), _CHUNK)
    )
    return np.concatenate(list(parts))


def _log_energies(frames: np.ndarray) -> np.ndarray:
    """(T, 400) samples to (T, 80)."""
    frames = frames - frames.mean(1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], 1)
    spectrum = np.fft.rfft((frames - PREEMPHASIS * before) * povey_window(), FFT)
    power = np.square(spectrum.real) + np.square(spectrum.imag)  # [T, F]
    energies = power.astype(np.float32) @ filterbank()  # [T, M]
    return np.log(np.maximum(energies, FLOOR))
