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
        gain: float32 (T,), of the output: 1 near the voice, ``-depth_db`` elsewhere.
        floor: float32 (T,), amplitude of the recording itself that is kept:
            ``-protection_db`` where the voice is heard and 0.25 s around, 0 elsewhere.
        hop_seconds: time between frames.
    """

    gain: np.ndarray
    floor: np.ndarray
    hop_seconds: float

    def at(self, start: int, count: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain and floor, float32 (count,), of the samples from ``start`` on.

        Args:
            start: first sample.
            count: how many.
            rate: their rate in Hz.
        """
        frames = np.arange(start, start + count) / (rate * self.hop_seconds)
        # The whole track of a recording of hours would be searched for every block.
        first = min(int(start / (rate * self.hop_seconds)), len(self.gain) - 1)
        last = int((start + count) / (rate * self.hop_seconds)) + 2
        gain, floor = (
            np.interp(frames - first, np.arange(len(part)), part).astype(np.float32)
            for part in (self.gain[first:last], self.floor[first:last])
        )
        return gain, floor


class Strength(NamedTuple):
    """How far what was heard lets the network and the gain go.

    Attributes:
        protection_db: where the voice is heard, nothing is turned down by more.
        depth_db: how far its absences are turned down.
    """

    protection_db: float = PROTECTION_DB
    depth_db: float = DEPTH_DB


NORMAL = Strength()
"""What the constants of this module say."""


def steer(
    posterior: np.ndarray, hop_seconds: float, strength: Strength = NORMAL
) -> Steering:
    """What to do, given when the voice is heard.

    Args:
        posterior: (T,) of target speech.
        hop_seconds: time between frames.
        strength: how far.
    """
    heard = moving_mean(posterior, round(SMOOTHING_SECONDS / hop_seconds)) > THRESHOLD
    near = moving_mean(heard, 2 * round(REACH_SECONDS / hop_seconds) + 1) > 0
    fade = 2 * round(_FADE_SECONDS / hop_seconds) + 1
    gain = moving_mean(np.where(near, 1.0, 10 ** (-strength.depth_db / 20)), fade)
    # Widened by the fade, so that a short word is protected to its ends.
    around = moving_mean(heard, fade) > 0
    floor = 10 ** (-strength.protection_db / 20) * moving_mean(around, fade)
    return Steering(gain.astype(np.float32), floor.astype(np.float32), hop_seconds)


def moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over ``width`` frames around each; beyond the ends, the end's value."""
    width = max(1, width)
    before = width // 2
    padded = np.pad(values.astype(np.float64), (before + 1, width - 1 - before), "edge")
    sums = np.cumsum(padded)
    # Differences of long sums: what is zero must come out as zero.
    return np.round((sums[width:] - sums[:-width]) / width, 9)
