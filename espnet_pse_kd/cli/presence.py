"""How much of a recording is spoken by the enrolled voice, in constant memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import soxr

from espnet_pse_kd.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from espnet_pse_kd.runtime.profile import Profile
    from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

ABSENT_SHARE = 0.02
"""Share of the time below which the enrolled voice counts as absent."""

_PIECE = 30 * SAMPLE_RATE  # the personal VAD runs on pieces of half a minute


class PresenceMeter:
    """Counts the frames in which the personal VAD hears the enrolled voice.

    Args:
        personal_vad: the network.
        profile: of the voice.
        rate: of the signal, in Hz.
    """

    def __init__(
        self, personal_vad: OnnxPersonalVAD, profile: Profile, rate: int
    ) -> None:
        self._personal_vad, self._vector = personal_vad, profile.vector
        self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1)
        self._waiting: list[np.ndarray] = []
        self._counts = np.zeros(len(personal_vad.classes), int)

    def add(self, block: np.ndarray) -> None:
        """Take the next samples (n,) of the recording."""
        self._waiting.append(self._resampler.resample_chunk(block))
        if sum(map(len, self._waiting)) >= _PIECE:
            self._count()

    def shares(self) -> tuple[float, float]:
        """Shares of the time of the enrolled voice, and of other voices alone."""
        self._waiting.append(
            self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        )
        self._count()
        shares = self._counts / max(self._counts.sum(), 1)
        own, others = map(self._personal_vad.classes.index, ("tss", "ntss"))
        return float(shares[own]), float(shares[others])

    def report(self, name: str) -> None:
        """Print the shares; warn where the voice seems absent."""
        own, others = self.shares()
        print(
            f"{name}: enrolled voice in {100 * own:.0f} % of the time, other voices "
            f"alone in {100 * others:.0f} %"
        )
        if own < ABSENT_SHARE:
            print(
                f"warning: {name}: the enrolled voice seems absent; is it the right "
                "profile?",
                file=sys.stderr,
            )

    def _count(self) -> None:
        piece = np.concatenate(self._waiting)
        self._waiting = []
        if len(piece):
            posteriors = self._personal_vad.posteriors(piece, self._vector)  # [T, 3]
            heard = posteriors.argmax(1)  # [T]
            self._counts += np.bincount(heard, minlength=len(self._counts))
