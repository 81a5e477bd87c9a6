"""Telephone band: what a telephone makes of speech, and whether a recording has it.

A speaker vector of wide-band speech meets the same voice on a telephone badly. A
profile therefore holds a second vector, of the same recording as a telephone would have
it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import soxr

from espnet_pse_kd.audio import SAMPLE_RATE

FULL, TELEPHONE = "full", "telephone"
BANDS = (FULL, TELEPHONE)
"""Bands of a profile's vectors."""

_TELEPHONE_RATE = 8000
_PASS_HZ = (300.0, 3400.0)
_SLOPE_HZ = 100.0  # of the filter, outside of the band
_MU = 255.0  # of G.711

_FRAME_SECONDS, _STEP_SECONDS = 0.032, 0.1
_SPEECH_HZ, _LOW_HZ, _HIGH_HZ = (300.0, 3400.0), (50.0, 180.0), (4200.0, 7500.0)
_RANGE_DB = 25.0  # frames this far below the loud ones tell nothing of the band
NARROW_DB = np.array([-38.0, -60.0])
"""Power below 180 Hz and above 4.2 kHz, both below which a second is a telephone's.

What was sampled at 8 kHz but keeps its low tones suits the enrolment of the full band
better (GE2E: AUC 0.98 against 0.89). Figures: docs/measured/speaker_encoders.md.
"""


def telephone(wave: np.ndarray) -> np.ndarray:
    """Speech as a telephone hands it on: 300 to 3400 Hz, 8 kHz, 8 bits (mu-law).

    Args:
        wave: float32 (N,) at 16 kHz, full scale 1.

    Returns:
        float32 (N,) at 16 kHz.
    """
    narrow = soxr.resample(wave, SAMPLE_RATE, _TELEPHONE_RATE)
    spectrum = np.fft.rfft(narrow)
    hertz = np.linspace(0, _TELEPHONE_RATE / 2, len(spectrum))
    low, high = _PASS_HZ
    outside = np.maximum(low - hertz, hertz - high).clip(0)
    gain = np.cos(np.pi / 2 * (outside / _SLOPE_HZ).clip(0, 1)) ** 2
    narrow = np.fft.irfft(spectrum * gain, len(narrow))
    wide = soxr.resample(_mu_law(narrow), _TELEPHONE_RATE, SAMPLE_RATE)
    wide = np.pad(wide[: len(wave)], (0, max(0, len(wave) - len(wide))))
    return wide.astype(np.float32)


def _mu_law(wave: np.ndarray) -> np.ndarray:
    """Round (N,) to the 255 values of mu-law."""
    pressed = np.sign(wave) * np.log1p(_MU * np.abs(wave).clip(0, 1)) / np.log1p(_MU)
    rounded = np.round(pressed * 127) / 127
    return np.sign(rounded) * np.expm1(np.abs(rounded) * np.log1p(_MU)) / _MU


class BandMeter:
    """Finds the band of a recording of any rate that comes in pieces.

    It looks at a third of the signal, and keeps three numbers for a tenth of a second.

    Args:
        rate: Hz.
    """

    def __init__(self, rate: int) -> None:
        self._frame = max(2, round(_FRAME_SECONDS * rate))
        self._step = max(self._frame, round(_STEP_SECONDS * rate))
        hertz = np.fft.rfftfreq(self._frame, 1 / rate)
        self._masks = [
            (hertz >= low) & (hertz <= high)
            for low, high in (_SPEECH_HZ, _LOW_HZ, _HIGH_HZ)
        ]
        self._window = np.hanning(self._frame)
        self._rest = np.zeros(0, np.float32)
        self._powers: list[np.ndarray] = []

    def add(self, wave: np.ndarray) -> None:
        """Take the next samples (n,)."""
        wave = np.concatenate([self._rest, np.nan_to_num(wave, posinf=0, neginf=0)])
        count = len(wave) // self._step
        self._rest = wave[count * self._step :]
        if not count:
            return
        frames = wave[: count * self._step].reshape(count, -1)[:, : self._frame]
        power = np.square(np.abs(np.fft.rfft(frames * self._window)))  # [T, F]
        self._powers.append(np.stack([power[:, m].sum(1) for m in self._masks], 1))

    def ratios(self) -> np.ndarray:
        """Power below 180 Hz and above 4.2 kHz over that of speech, in dB.

        Returns:
            (S, 2), of every second with speech.
        """
        if not self._powers:
            return np.zeros((0, 2))
        powers = np.concatenate(self._powers)  # [T, 3]
        loud = np.quantile(powers[:, 0], 0.95)
        spoken = powers[:, 0] > max(loud * 10 ** (-_RANGE_DB / 10), 1e-12)
        per_second = round(1 / _STEP_SECONDS)
        second = np.arange(len(powers)) // per_second
        sums = np.stack(
            [np.bincount(second, p * spoken, second[-1] + 1) for p in powers.T], 1
        )
        sums = sums[sums[:, 0] > 0]
        return 10 * np.log10(np.maximum(sums[:, 1:] / sums[:, :1], 1e-12))

    def band(self) -> str:
        """`TELEPHONE` where most seconds of speech are narrow, `FULL` otherwise.

        A recording whose band changes is met with the band of its greater part.
        """
        ratios = self.ratios()
        narrow = np.count_nonzero((ratios < NARROW_DB).all(1))
        return TELEPHONE if 2 * narrow > len(ratios) else FULL


def measure_band(blocks: Iterable[np.ndarray], rate: int) -> str:
    """Band of a recording whose blocks are (n,) or (n, channels)."""
    meter = BandMeter(rate)
    for block in blocks:
        meter.add(block if block.ndim == 1 else block.mean(1))
    return meter.band()
