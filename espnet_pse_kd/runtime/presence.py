"""Long absences of the enrolled voice, for recordings: it looks ahead.

A causal network hears a stranger and has to decide at once; given a whole recording,
the personal VAD may wait for four seconds in which the voice is heard for certain. What
has none of them on either side is turned down.
"""

from __future__ import annotations

import numpy as np

REACH_SECONDS = 4.0
"""The voice counts as present this long before and after it is heard."""
THRESHOLD = 0.5
"""Mean posterior of target speech over `SMOOTHING_SECONDS` at which it is heard.

Chosen on the development set of docs/findings.md, trials of 10 s: of reaches of 0.5 to
4 s and thresholds of 0.3 to 0.9, the pair that closes over half of the trials without
the voice and the least of its speech.
"""
SMOOTHING_SECONDS = 0.2
DEPTH_DB = 30.0
"""How far an absence is turned down: quiet, but a mistake can still be heard."""
_FADE_SECONDS = 0.25


def present(posterior: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Frames within `REACH_SECONDS` of the enrolled voice.

    Args:
        posterior: (T,) of target speech.
        hop_seconds: time between frames.

    Returns:
        bool (T,)
    """
    heard = _mean(posterior, round(SMOOTHING_SECONDS / hop_seconds)) > THRESHOLD
    return _mean(heard, 2 * round(REACH_SECONDS / hop_seconds) + 1) > 0


def gains(posterior: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Gain of every frame: 1 near the voice, ``-DEPTH_DB`` elsewhere, with fades.

    Args:
        posterior: (T,) of target speech.
        hop_seconds: time between frames.

    Returns:
        float32 (T,)
    """
    closed = 10 ** (-DEPTH_DB / 20)
    target = np.where(present(posterior, hop_seconds), 1.0, closed)
    return _mean(target, 2 * round(_FADE_SECONDS / hop_seconds) + 1).astype(np.float32)


def at_samples(
    gain: np.ndarray, hop_seconds: float, start: int, count: int, rate: int
) -> np.ndarray:
    """Gains of ``count`` samples from sample ``start`` on, at ``rate`` Hz: float32."""
    frames = np.arange(start, start + count) / (rate * hop_seconds)
    return np.interp(frames, np.arange(len(gain)), gain).astype(np.float32)


def _mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over ``width`` frames around each; beyond the ends, the end's value."""
    width = max(1, width)
    before = width // 2
    padded = np.pad(values.astype(np.float64), (before + 1, width - 1 - before), "edge")
    sums = np.cumsum(padded)
    # Differences of long sums: what is zero must come out as zero.
    return np.round((sums[width:] - sums[:-width]) / width, 9)
