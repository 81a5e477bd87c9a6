"""What a recording of one voice is worth for enrolment, by energy alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.fbank import log_fbank

LEAST_SPEECH = 1.5
"""Seconds of speech below which an enrolment is refused."""
ENOUGH_SPEECH = 8.0
"""Seconds of speech below which more is asked for."""
POOR_SNR_DB = 10.0
"""Below it a better recording is asked for."""
CLIPPED_SHARE = 1e-3
"""Share of clipped samples above which a better recording is asked for."""
LEAST_VARIATION = 1.8
"""Variation of the spectrum in dB below which what stands out is no speech.

A tone of 440 Hz that goes on and off has 1.4 dB, bursts of noise 1.0 dB; speech of
development speakers has 5.4 dB or more, and 2.0 where the SNR is 5 dB, see
docs/measured/speaker_encoders.md.
"""

_FRAME = 480  # 30 ms
_SILENCE = 10 ** (-70 / 10)  # power of -70 dBFS, where speaker encoders stop as well
_RANGE = 10 ** (-30 / 10)  # speech lies within 30 dB of its loudest frames
_ABOVE_NOISE = 10 ** (6 / 10)
_LARGEST_SNR_DB = 60.0
_SPECTRUM_RANGE_DB = 40.0
_CLIP_RUN = 3  # equal extremes in a row: a sine of 5 kHz has none


class Recording(NamedTuple):
    """Measures of one recording.

    Attributes:
        seconds: length.
        speech: seconds in which somebody speaks.
        level: level of the speech in dBFS, -inf where there is none.
        snr: estimate of speech over noise in dB, at most 60, NaN without speech.
        clipped: share of samples that are cut off at the largest value.
        variation: how much the spectrum of the speech varies over time, in dB.
    """

    seconds: float
    speech: float
    level: float
    snr: float
    clipped: float
    variation: float

    def __str__(self) -> str:
        return (
            f"{self.speech:.1f} s of speech in {self.seconds:.1f} s, "
            f"level {self.level:.0f} dBFS, SNR about {self.snr:.0f} dB, "
            f"{100 * self.clipped:.2g} % clipped"
        )


def measure(wave: np.ndarray) -> Recording:
    """Measure a recording.

    Speech is where a frame of 30 ms is within 30 dB of the loud ones, more than 6 dB
    above the noise and above -70 dBFS; the noise is the mean of the quietest tenth of
    the frames. Steady noise or a tone therefore has no speech, and a recording without
    any pause gets too low an SNR.

    Args:
        wave: (N,) at 16 kHz, full scale = 1.
    """
    wave = np.asarray(wave, np.float64)
    frames = wave[: len(wave) // _FRAME * _FRAME].reshape(-1, _FRAME)  # [T, 480]
    power_of = np.square(frames).mean(1)  # [T]
    power = np.sort(power_of)
    seconds = len(wave) / SAMPLE_RATE
    clipped = clipped_share(wave)
    if not len(power):
        return Recording(seconds, 0.0, -math.inf, math.nan, clipped, 0.0)
    noise = power[: max(1, len(power) // 10)].mean()
    loud = power[int(0.95 * (len(power) - 1))]
    threshold = max(loud * _RANGE, noise * _ABOVE_NOISE, _SILENCE)
    spoken = power[power > threshold]
    if not len(spoken):
        return Recording(seconds, 0.0, -math.inf, math.nan, clipped, 0.0)
    level = spoken.mean()
    snr = 10 * math.log10((level - noise) / max(noise, 1e-12))
    return Recording(
        seconds,
        len(spoken) * _FRAME / SAMPLE_RATE,
        10 * math.log10(level),
        min(snr, _LARGEST_SNR_DB),
        clipped,
        _variation(frames[power_of > threshold]),
    )


def _variation(frames: np.ndarray) -> float:
    """How much the spectral envelope of (T, 480) frames varies, in dB.

    The standard deviation over time of the level in 20 bands, relative to the mean of
    all bands, of stretches of 90 ms: in shorter ones noise itself would vary.
    """
    wave = frames[: len(frames) // 3 * 3].astype(np.float32).reshape(-1)
    energies = np.exp(log_fbank(wave))  # [T', 80]
    count = len(energies) // 9
    if count < 2:
        return 0.0
    bands = energies[: 9 * count].reshape(count, 9, 20, 4).sum((1, 3))  # [S, 20]
    level = 10 * np.log10(bands)
    level = np.maximum(level, level.max(1, keepdims=True) - _SPECTRUM_RANGE_DB)
    return float((level - level.mean(1, keepdims=True)).std(0).mean())


def clipped_share(wave: np.ndarray) -> float:
    """Share of samples in runs of three or more at the largest or smallest value."""
    if len(wave) < _CLIP_RUN:
        return 0.0
    cut = (wave == wave.max(initial=0)) | (wave == wave.min(initial=0))
    cut &= np.abs(wave) > 0.1  # the extremes of near silence are no clipping
    run = np.convolve(cut, np.ones(_CLIP_RUN, int), "same") == _CLIP_RUN
    inside = np.convolve(run, np.ones(_CLIP_RUN, int), "same") > 0
    return float(inside.mean())


def refuse_unfit(recording: Recording, name: str) -> None:
    """Refuse what nobody can be enrolled from.

    Raises:
        UserError: silence, less than `LEAST_SPEECH` seconds of speech, or a tone or a
            noise instead of speech.
    """
    if recording.speech == 0.0:
        raise UserError(
            f"{name}: {recording.seconds:.1f} s, no speech stands out in it; check the "
            "microphone and record the voice again"
        )
    if recording.speech < LEAST_SPEECH:
        raise UserError(
            f"{name}: {recording.speech:.1f} s of speech; enroll with at least "
            f"{LEAST_SPEECH} s, better {ENOUGH_SPEECH:.0f} s or more"
        )
    if recording.variation < LEAST_VARIATION:
        raise UserError(
            f"{name}: what stands out sounds always the same, like a tone or a noise; "
            "record a voice that speaks"
        )


def shortcomings(recording: Recording) -> list[str]:
    """What a better enrolment would mend, one line each; none if it is good."""
    return brevity(recording) + faults(recording)


def brevity(recording: Recording) -> list[str]:
    """That more speech would be better, in one line; none if it is enough."""
    if recording.speech >= ENOUGH_SPEECH:
        return []
    return [
        f"{recording.speech:.1f} s of speech; {ENOUGH_SPEECH:.0f} s or more "
        "tell the voice better from others"
    ]


def faults(recording: Recording) -> list[str]:
    """What is wrong with the sound, however long it is, one line each."""
    found = []
    if recording.snr < POOR_SNR_DB:
        found.append(
            f"SNR about {recording.snr:.0f} dB; record in a quieter place, with pauses"
        )
    if recording.clipped > CLIPPED_SHARE:
        found.append(
            f"{100 * recording.clipped:.2g} % of the samples are clipped; lower the "
            "microphone's gain"
        )
    return found
