"""Mel power spectra at the pVAD's frames: 25/10 ms, 40 bands, 16 kHz.

The same numbers as ``librosa.feature.melspectrogram(sr=16000, n_fft=400,
hop_length=160, n_mels=40)``: Slaney's mel scale and area normalisation, power 2.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from espnet_pse_kd.audio import SAMPLE_RATE

WINDOW = 400
"""Window length in samples (25 ms)."""
HOP = 160
"""Hop in samples (10 ms): the rate of the pVAD frames."""
BANDS = 40

_LINEAR_STEP = 200 / 3  # Slaney's scale: linear below 1 kHz, logarithmic above
_BREAK_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_STEP
    return _BREAK_HZ / _LINEAR_STEP + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: Tensor) -> Tensor:
    above = mel - _BREAK_HZ / _LINEAR_STEP
    return torch.where(
        above < 0, mel * _LINEAR_STEP, _BREAK_HZ * torch.exp(above * _LOG_STEP)
    )


@functools.lru_cache(maxsize=8)
def mel_filterbank(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Triangular filters (201, 40), each of unit area over frequency in Hz."""
    bins = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1, dtype=torch.float64)
    mels = torch.linspace(
        0.0, _hz_to_mel(SAMPLE_RATE / 2), BANDS + 2, dtype=torch.float64
    )
    edges = _mel_to_hz(mels)  # [M + 2]
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp_min(0)  # [F, M]
    return (triangles * 2 / (edges[2:] - edges[:-2])).to(device, dtype)


@functools.lru_cache(maxsize=8)
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, dtype=dtype, device=device)


def mel_power(x: Tensor) -> Tensor:
    """Mel power spectrum; frame ``t`` is centred on sample ``160 t``.

    Args:
        x: (..., N) signal at 16 kHz, N >= 1. Samples outside it count as zero.

    Returns:
        (..., T, 40) with ``T = ceil(N / 160) + 1``.
    """
    flat = x.reshape(-1, x.shape[-1])
    tail = -x.shape[-1] % HOP
    flat = torch.nn.functional.pad(flat, (WINDOW // 2, WINDOW // 2 + tail))
    spectrum = torch.stft(
        flat,
        WINDOW,
        HOP,
        window=_window(x.dtype, x.device),
        center=False,
        return_complex=True,
    )  # [B, F, T]
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power.transpose(1, 2) @ mel_filterbank(x.dtype, x.device)  # [B, T, M]
    return mel.reshape(*x.shape[:-1], *mel.shape[-2:])
