"""What a recording of one voice is worth for enrolment, by energy alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError

LEAST_SPEECH = 1.5
"""Seconds of speech below which an enrolment is refused."""
ENOUGH_SPEECH = 8.0
"""Seconds of speech below which more is asked for."""
POOR_SNR_DB = 10.0
"""Below it a better recording is asked for."""
CLIPPED_SHARE = 1e-3
"""Share of clipped samples above which a better recording is asked for."""

_FRAME = 480  # 30 ms
_SILENCE = 10 ** (-70 / 10)  # power of -70 dBFS, where speaker encoders stop as well
_RANGE = 10 ** (-30 / 10)  # speech lies within 30 dB of its loudest frames
_ABOVE_NOISE = 10 ** (6 / 10)
_LARGEST_SNR_DB = 60.0
_CLIP_RUN = 3  # equal extremes in a row: a sine of 5 kHz has none


class Recording(NamedTuple):
    """Measures of one recording.

    Attributes:
        seconds: length.
        speech: seconds in which somebody speaks.
        level: level of the speech in dBFS, -inf where there is none.
        snr: estimate of speech over noise in dB, at most 60, NaN without speech.
        clipped: share of samples that are cut off at the largest value.
    """

    seconds: float
    speech: float
    level: float
    snr: float
    clipped: float

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
    power = np.sort(np.square(frames).mean(1))
    seconds = len(wave) / SAMPLE_RATE
    clipped = clipped_share(wave)
    if not len(power):
        return Recording(seconds, 0.0, -math.inf, math.nan, clipped)
    noise = power[: max(1, len(power) // 10)].mean()
    loud = power[int(0.95 * (len(power) - 1))]
    spoken = power[power > max(loud * _RANGE, noise * _ABOVE_NOISE, _SILENCE)]
    if not len(spoken):
        return Recording(seconds, 0.0, -math.inf, math.nan, clipped)
    level = spoken.mean()
    snr = 10 * math.log10((level - noise) / max(noise, 1e-12))
    return Recording(
        seconds,
        len(spoken) * _FRAME / SAMPLE_RATE,
        10 * math.log10(level),
        min(snr, _LARGEST_SNR_DB),
        clipped,
    )


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
        UserError: silence, or less than `LEAST_SPEECH` seconds of speech.
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
