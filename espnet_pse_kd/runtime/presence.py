"""A second opinion on the enrolled voice, for recordings: it looks ahead.

A causal network has to decide at once whether it hears the enrolled voice or a
stranger, and errs both ways. Given a whole recording, the personal VAD may wait. Where
it hears the voice for certain, the network may not remove it; what has no such moment
within seconds on either side is turned down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REACH_SECONDS = 4.0
"""The voice counts as present this long before and after it is heard."""
THRESHOLD = 0.5
"""Mean posterior of target speech over `SMOOTHING_SECONDS` at which it is heard.

Chosen on the development set of docs/findings.md, 50 trials a scenario: of 0.3 to 0.85,
the lowest that mutes the median trial without the voice; higher ones lose more speech.
"""
SMOOTHING_SECONDS = 0.2
DEPTH_DB = 30.0
"""How far an absence is turned down: quiet, but a mistake can still be heard."""
PROTECTION_DB = 10.0
"""Where the voice is heard, nothing is turned down by more: too little to delete it."""
_FADE_SECONDS = 0.25


class Steering(NamedTuple):
    """What the personal VAD does to an enhanced recording.

    Attributes:
        gain: float32 (T,), of the output: 1 near the voice, ``-DEPTH_DB`` elsewhere.
        floor: float32 (T,), amplitude of the recording itself that is kept:
            ``-PROTECTION_DB`` where the voice is heard, 0 elsewhere.
        hop_seconds: time between frames.
    """

    gain: np.ndarray
    floor: np.ndarray
    hop_seconds: float

    def apply(
        self,
        enhanced: np.ndarray,
        untouched: np.ndarray,
        start: int,
        rate: int,
        attenuation_limit_db: float | None = None,
    ) -> np.ndarray:
        """Mend a stretch of the output.

        Args:
            enhanced: (n, ...) of the network, without limit.
            untouched: (n, ...) the recording at the same samples.
            start: its first sample in the recording.
            rate: Hz.
            attenuation_limit_db: nothing is turned down by more than this.

        Returns:
            float32 (n, ...)
        """
        gain, floor = (
            _at_samples(track, self.hop_seconds, start, len(enhanced), rate).reshape(
                -1, *[1] * (enhanced.ndim - 1)
            )
            for track in (self.gain, self.floor)
        )
        if attenuation_limit_db is not None:
            floor = np.maximum(floor, np.float32(10 ** (-attenuation_limit_db / 20)))
        return gain * (1 - floor) * enhanced + floor * untouched


def steer(posterior: np.ndarray, hop_seconds: float) -> Steering:
    """What to do, given when the voice is heard.

    Args:
        posterior: (T,) of target speech.
        hop_seconds: time between frames.
    """
    heard = _heard(posterior, hop_seconds)
    near = _mean(heard, 2 * round(REACH_SECONDS / hop_seconds) + 1) > 0
    fade = 2 * round(_FADE_SECONDS / hop_seconds) + 1
    gain = _mean(np.where(near, 1.0, 10 ** (-DEPTH_DB / 20)), fade)
    floor = 10 ** (-PROTECTION_DB / 20) * _mean(heard, fade)
    return Steering(gain.astype(np.float32), floor.astype(np.float32), hop_seconds)


def _heard(posterior: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Frames, bool (T,), in which the voice is heard for certain."""
    return _mean(posterior, round(SMOOTHING_SECONDS / hop_seconds)) > THRESHOLD


def _at_samples(
    track: np.ndarray, hop_seconds: float, start: int, count: int, rate: int
) -> np.ndarray:
    """Values of ``count`` samples from sample ``start`` on, at ``rate`` Hz: float32."""
    frames = np.arange(start, start + count) / (rate * hop_seconds)
    # The whole track of a recording of hours would be searched for every block.
    first = min(int(start / (rate * hop_seconds)), len(track) - 1)
    last = int((start + count) / (rate * hop_seconds)) + 2
    part = track[first:last]
    return np.interp(frames - first, np.arange(len(part)), part).astype(np.float32)


def _mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over ``width`` frames around each; beyond the ends, the end's value."""
    width = max(1, width)
    before = width // 2
    padded = np.pad(values.astype(np.float64), (before + 1, width - 1 - before), "edge")
    sums = np.cumsum(padded)
    # Differences of long sums: what is zero must come out as zero.
    return np.round((sums[width:] - sums[:-width]) / width, 9)
