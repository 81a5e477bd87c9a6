"""When the enrolled voice speaks in a recording, read block by block."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from espnet_pse_kd.runtime.profile import Profile
    from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

ABSENT_SHARE = 0.02
"""Share of the time below which the enrolled voice counts as absent."""


class PresenceMeter:
    """Hears one channel with the personal VAD; keeps 200 bytes per second of it.

    Args:
        personal_vad: the network.
        profile: of the voice.
        rate: of the signal, in Hz.
    """

    def __init__(
        self, personal_vad: OnnxPersonalVAD, profile: Profile, rate: int
    ) -> None:
        self._stream = personal_vad.stream(profile.vector, rate)
        self._classes = personal_vad.classes
        self._counts = np.zeros(len(self._classes), int)
        self._track: list[np.ndarray] = []
        self.hop_seconds = personal_vad.hop / personal_vad.sample_rate

    def add(self, block: np.ndarray) -> None:
        """Take the next samples (n,) of the channel."""
        self._keep(self._stream.process(block))

    def finish(self) -> np.ndarray:
        """Posterior (T,) of the enrolled voice every hop; the recording has ended."""
        self._keep(self._stream.finish())
        return np.concatenate(self._track)

    @property
    def shares(self) -> np.ndarray:
        """Shares (2,) of the time: of the enrolled voice, of other voices alone."""
        shares = self._counts / max(self._counts.sum(), 1)
        return np.array([shares[self._classes.index(name)] for name in ("tss", "ntss")])

    def _keep(self, posteriors: np.ndarray) -> None:
        own = self._classes.index("tss")
        self._track.append(posteriors[:, own].astype(np.float16))
        heard = np.bincount(posteriors.argmax(1), minlength=len(self._counts))
        self._counts += heard


def report(name: str, meters: Sequence[PresenceMeter]) -> None:
    """Print the shares of the voices; warn where the enrolled one seems absent."""
    own, others = np.mean([meter.shares for meter in meters], axis=0)
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
