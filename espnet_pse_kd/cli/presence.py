"""When the enrolled voice speaks in a recording, read block by block."""

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
    """Hears a recording with the personal VAD; keeps 200 bytes per second of it.

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
        self._own = personal_vad.classes.index("tss")
        self._track: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        """Take the next samples (n,) of the recording."""
        self._waiting.append(self._resampler.resample_chunk(block))
        if sum(map(len, self._waiting)) >= _PIECE:
            self._hear(last=False)

    def finish(self) -> np.ndarray:
        """Posterior (T,) of the enrolled voice every 10 ms; the recording has ended."""
        rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._waiting.append(rest)
        self._hear(last=True)
        if not self._track:  # a few samples, which resampling has swallowed
            return np.zeros(1, np.float16)
        return np.concatenate(self._track)

    @property
    def hop_seconds(self) -> float:
        """Time between posteriors."""
        return self._personal_vad.hop / SAMPLE_RATE

    def report(self, name: str) -> None:
        """Print the shares of the voices; warn where the enrolled one seems absent."""
        shares = self._counts / max(self._counts.sum(), 1)
        own, others = (
            shares[self._own],
            shares[self._personal_vad.classes.index("ntss")],
        )
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

    def _hear(self, last: bool) -> None:
        """Run the personal VAD on what waits; all but the last piece are whole hops."""
        piece = np.concatenate(self._waiting)
        whole = len(piece) if last else len(piece) - len(piece) % self._personal_vad.hop
        self._waiting = [piece[whole:]]
        if whole == 0:
            return
        posteriors = self._personal_vad.posteriors(
            piece[:whole], self._vector
        )  # [T, 3]
        if not last:  # the frame on its end is the next piece's first
            posteriors = posteriors[:-1]
        self._track.append(posteriors[:, self._own].astype(np.float16))
        heard = np.bincount(posteriors.argmax(1), minlength=len(self._counts))
        self._counts += heard
