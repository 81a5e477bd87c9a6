"""The STFT in which losses and metrics are defined, independent of any network."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

WINDOW = 512
"""Window length in samples (32 ms)."""
HOP = 256
"""Hop in samples (16 ms): the rate of the loss frames."""
BINS = WINDOW // 2 + 1


@functools.lru_cache(maxsize=8)
def _window(dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, dtype=dtype, device=device).sqrt()


def num_frames(samples: int, hop: int = HOP) -> int:
    """Number of frames that cover a signal: frame ``t`` is centred on ``hop * t``."""
    return -(-samples // hop) + 1


def pad_to_frames(x: Tensor) -> Tensor:
    """Zero-pad (..., N) so that every sample lies in two frames."""
    tail = -x.shape[-1] % HOP
    return torch.nn.functional.pad(x, (WINDOW // 2, WINDOW // 2 + tail))


def stft(x: Tensor) -> Tensor:
    """Short-time Fourier transform, square-root Hann, scaled by 1/sqrt(sum w^2).

    The scaling makes ``|X|^2`` of white noise of variance v equal to v in every bin.

    Args:
        x: (..., N) real signal, N >= 1.

    Returns:
        complex (..., T, 257) with ``T = ceil(N / 256) + 1``.
    """
    window = _window(x.dtype, x.device)
    window = window / window.square().sum().sqrt()
    flat = x.reshape(-1, x.shape[-1])
    # Constant padding, unlike reflection, works for signals shorter than a window.
    spectrum = torch.stft(
        pad_to_frames(flat),
        WINDOW,
        HOP,
        window=window,
        center=False,
        return_complex=True,
    ).transpose(-1, -2)  # [B, T, F]
    return spectrum.reshape(*x.shape[:-1], *spectrum.shape[-2:])


def istft(spectrum: Tensor, length: int) -> Tensor:
    """Inverse of `stft` for a signal of ``length`` samples.

    Args:
        spectrum: complex (..., T, 257) with ``T = ceil(length / 256) + 1``.

    Returns:
        (..., length)
    """
    real = torch.float64 if spectrum.dtype == torch.complex128 else torch.float32
    window = _window(real, spectrum.device)
    scaled = spectrum * window.square().sum().sqrt()
    frames = torch.fft.irfft(scaled, WINDOW) * window  # [..., T, W]
    flat = frames.reshape(-1, *frames.shape[-2:])
    count = flat.shape[1]
    # A periodic Hann window at half overlap adds up to one: no normalisation needed.
    signal = torch.nn.functional.fold(
        flat.transpose(1, 2),
        (1, (count - 1) * HOP + WINDOW),
        (1, WINDOW),
        stride=(1, HOP),
    )[:, 0, 0]
    signal = signal[:, WINDOW // 2 : WINDOW // 2 + length]
    return signal.reshape(*spectrum.shape[:-2], length)
