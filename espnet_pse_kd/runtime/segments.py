"""Who speaks when in a recording, as a list of times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet_pse_kd.runtime.meter import Presence
from espnet_pse_kd.runtime.steering import SMOOTHING_SECONDS, THRESHOLD, moving_mean

_SHORTEST_PAUSE, _SHORTEST_SEGMENT = 0.3, 0.2  # seconds


class Segment(NamedTuple):
    """A stretch of time in which one or others speak.

    Attributes:
        start: in seconds.
        end: in seconds.
        enrolled: whether it is the enrolled voice; otherwise others, without it.
        confidence: mean posterior of that, 0 to 1.
    """

    start: float
    end: float
    enrolled: bool
    confidence: float


def segments(heard: Presence) -> list[Segment]:
    """Who speaks when, in order of time.

    Posteriors are averaged over `SMOOTHING_SECONDS`, and count above `THRESHOLD`; a
    pause of less than 0.3 s is none, and what is shorter than 0.2 s is left out.

    Args:
        heard: of one channel.
    """
    width = round(SMOOTHING_SECONDS / heard.hop_seconds)
    own, others = (moving_mean(p, width) for p in (heard.posterior, heard.others))
    enrolled = own > THRESHOLD
    tracks = ((True, own, enrolled), (False, others, (others > THRESHOLD) & ~enrolled))
    found = [
        Segment(start * heard.hop_seconds, end * heard.hop_seconds, kind, mean)
        for kind, posterior, active in tracks
        for start, end in _runs(active, round(_SHORTEST_PAUSE / heard.hop_seconds))
        if (mean := float(posterior[start:end].mean()))
    ]
    long = [one for one in found if one.end - one.start >= _SHORTEST_SEGMENT]
    return sorted(long)


def _runs(active: np.ndarray, pause: int) -> list[tuple[int, int]]:
    """First and behind the last frame of every run of True, across short pauses."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
    starts, ends = edges[::2], edges[1::2]
    apart = starts[1:] - ends[:-1] >= pause
    firsts = np.concatenate([[True], apart])[: len(starts)]
    lasts = np.concatenate([apart, [True]])[: len(ends)]
    return list(zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True))
