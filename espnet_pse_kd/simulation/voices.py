"""Further voices out of recorded ones: another speed, another vocal tract."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from scipy import fft

_WINDOW, _HOP = 1024, 256
_LIFTER = 40
"""Cepstral coefficients of the envelope: up to 2.5 ms, below any pitch period."""
_RANGE = 4.0
"""Largest change of a bin, in nepers: an empty bin is not pulled out of the noise."""


class Voice(NamedTuple):
    """How speech is played.

    Attributes:
        speed: pitch, tempo and formants alike, as of a tape.
        formants: ratio by which the formants move besides.
    """

    speed: float = 1.0
    formants: float = 1.0

    def named(self, key: str) -> str:
        """``sp0.9-fm1.1-KEY``; speeds as in Kaldi's ``perturb_data_dir_speed.sh``."""
        formants = "" if self.formants == 1 else f"fm{self.formants:g}-"
        speed = "" if self.speed == 1 else f"sp{self.speed:g}-"
        return f"{speed}{formants}{key}"

    def recorded(self, frames: int) -> int:
        """Samples of the recording that ``frames`` samples are played from."""
        return int(frames * self.speed)

    def play(self, recording: np.ndarray, samples: int) -> np.ndarray:
        """Play float32 (recorded(samples),) in this voice: (samples,)."""
        if self.speed != 1:
            import soxr

            recording = soxr.resample(recording, self.speed, 1.0)
        # The resampler's length is right up to a sample or two.
        missing = max(0, samples - len(recording))
        played = np.pad(recording, (0, missing))[:samples]
        return played if self.formants == 1 else move_formants(played, self.formants)


OWN = Voice()
_NAMED = re.compile(r"^(sp\d[\d.]*-)?(fm\d[\d.]*-)?")


def person_of(speaker: str) -> str:
    """Who speaks, whatever the voice: the inverse of `Voice.named`."""
    return _NAMED.sub("", speaker, count=1)


def move_formants(x: np.ndarray, ratio: float) -> np.ndarray:
    """Stretch the spectral envelope along the frequency axis; the pitch stays.

    A vocal tract length perturbation (Jaitly and Hinton, 2013) of the envelope alone:
    the cepstrum's first 2.5 ms, taken from 64 ms frames.

    Args:
        x: (samples,)
        ratio: factor of the formants' frequencies; above 1 a shorter vocal tract.

    Returns:
        float32 (samples,)
    """
    window = np.sqrt(np.hanning(_WINDOW + 1)[:-1]).astype(np.float32)
    padded = np.pad(x.astype(np.float32), (_WINDOW, 2 * _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    spectrum = fft.rfft(frames * window)  # [T, F]
    magnitude = np.abs(spectrum)
    floor = 1e-6 * float(magnitude.max(initial=0.0)) + 1e-20
    cepstrum = fft.irfft(np.log(magnitude + np.float32(floor)))  # [T, W]
    cepstrum[:, _LIFTER + 1 : -_LIFTER] = 0
    envelope = fft.rfft(cepstrum).real  # [T, F]
    at = np.arange(_WINDOW // 2 + 1) / ratio
    below = np.minimum(at.astype(int), _WINDOW // 2 - 1)
    part = np.minimum(at - below, 1).astype(np.float32)
    moved = envelope[:, below] * (1 - part) + envelope[:, below + 1] * part
    spectrum *= np.exp(np.clip(moved - envelope, -_RANGE, _RANGE))
    frames = fft.irfft(spectrum)[:, :_WINDOW] * (
        window * np.float32(2 * _HOP / _WINDOW)
    )
    # Overlap-add: every fourth frame starts where one before it has ended.
    blocks = frames.reshape(len(frames), _WINDOW // _HOP, _HOP)
    result = np.zeros((len(frames) + _WINDOW // _HOP, _HOP), np.float32)
    for k in range(_WINDOW // _HOP):
        result[k : k + len(frames)] += blocks[:, k]
    return result.ravel()[_WINDOW : _WINDOW + len(x)]
