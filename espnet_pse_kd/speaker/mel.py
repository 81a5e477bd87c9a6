"""Mel power spectra at the pVAD's frames: 25/10 ms, 16 kHz.

The same numbers as ``librosa.feature.melspectrogram(sr=16000, n_fft=400,
hop_length=160, n_mels=bands)``: Slaney's mel scale and area normalisation, power 2.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from espnet_pse_kd.runtime.features import BANDS, HOP, WINDOW, mel_filterbank

__all__ = ["BANDS", "HOP", "WINDOW", "mel_power"]


@functools.lru_cache(maxsize=8)
def _filterbank(bands: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.from_numpy(mel_filterbank(bands)).to(device, dtype)  # [F, M]


@functools.lru_cache(maxsize=8)
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, dtype=dtype, device=device)


def mel_power(x: Tensor, bands: int = BANDS) -> Tensor:
    """Mel power spectrum; frame ``t`` is centred on sample ``160 t``.

    Args:
        x: (..., N) signal at 16 kHz, N >= 1. Samples outside it count as zero.
        bands: number of bands.

    Returns:
        (..., T, bands) with ``T = ceil(N / 160) + 1``.
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
    mel = power.transpose(1, 2) @ _filterbank(bands, x.dtype, x.device)  # [B, T, M]
    return mel.reshape(*x.shape[:-1], *mel.shape[-2:])
