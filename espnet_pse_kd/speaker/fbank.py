"""Kaldi's log mel filterbank in PyTorch: the numbers of `runtime.fbank.log_fbank`."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from espnet_pse_kd.runtime import fbank
from espnet_pse_kd.runtime.fbank import BANDS, FFT, FLOOR, HOP, PREEMPHASIS, WINDOW

__all__ = ["BANDS", "HOP", "WINDOW", "log_fbank"]


@functools.lru_cache(maxsize=4)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Window (400,) and triangles (257, 80)."""
    window, filters = fbank.povey_window(), fbank.filterbank()
    return torch.from_numpy(window).to(device), torch.from_numpy(filters).to(device)


def log_fbank(wave: Tensor) -> Tensor:
    """Log mel energies; frame ``t`` covers the samples from ``160 t`` to 160 t + 400.

    Args:
        wave: float32 (..., N) at 16 kHz, full scale 1, N >= 400.

    Returns:
        (..., T, 80) with ``T = 1 + (N - 400) // 160``; nothing is subtracted.
    """
    window, filters = _constants(wave.device)
    frames = wave.unfold(-1, WINDOW, HOP)  # [..., T, W]
    frames = frames - frames.mean(-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
    spectrum = torch.fft.rfft((frames - PREEMPHASIS * before) * window, FFT)
    power = spectrum.real.square() + spectrum.imag.square()  # [..., T, F]
    return (power @ filters).clamp_min(FLOOR).log()  # [..., T, M]
