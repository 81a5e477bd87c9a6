"""Spectrograms as one looks at them."""

from __future__ import annotations

from torch import Tensor

from espnet_pse_kd.stft import stft

FLOOR_DB = -140.0
"""What an exact zero is shown as."""


def spectrogram_db(signal: Tensor) -> Tensor:
    """Power in dB at the loss frames: (..., N) -> (..., 257, T)."""
    power = stft(signal).abs().square()  # [..., T, F]
    return 10 * power.clamp_min(10 ** (FLOOR_DB / 10)).log10().transpose(-1, -2)
