"""When the enrolled voice speaks in a recording, read block by block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from espnet_pse_kd.runtime.band import FULL
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD

ABSENT_SHARE = 0.02
"""Share of the time below which the enrolled voice counts as absent."""


class Presence(NamedTuple):
    """When voices speak in one channel of a recording.

    Attributes:
        posterior: float32 (T,), that the enrolled voice speaks, every hop.
        others: float32 (T,), that only others speak.
        hop_seconds: time between the centres of its frames.
        own_share: share of the time in which the enrolled voice speaks.
        other_share: share of the time in which others speak alone.
    """

    posterior: np.ndarray
    others: np.ndarray
    hop_seconds: float
    own_share: float
    other_share: float


class PresenceMeter:
    """Hears one channel with the personal VAD; keeps 800 bytes per second of it.

    Args:
        personal_vad: the network.
        profile: of the voice.
        rate: of the signal, in Hz.
        band: of the signal, see `runtime.band`.

    Raises:
        UserError: the profile has no vector of the network's speaker encoder.
    """

    def __init__(
        self,
        personal_vad: OnnxPersonalVAD,
        profile: Profile,
        rate: int,
        band: str = FULL,
    ) -> None:
        vector = profile.vector(
            personal_vad.speaker_encoder, personal_vad.speaker_dim, band
        )
        self._stream = personal_vad.stream(vector, rate)
        self._classes = personal_vad.classes
        self._speech = [self._classes.index(name) for name in ("tss", "ntss")]
        self._counts = np.zeros(len(self._classes), int)
        self._track: list[np.ndarray] = []
        self._hop_seconds = personal_vad.hop / personal_vad.sample_rate

    def add(self, block: np.ndarray) -> None:
        """Take the next samples (n,) of the channel."""
        self._keep(self._stream.process(block))

    def finish(self) -> Presence:
        """End the recording."""
        self._keep(self._stream.finish())
        shares = self._counts / max(self._counts.sum(), 1)
        own, others = (float(share) for share in shares[self._speech])
        posteriors = np.concatenate(self._track)
        tracks = posteriors[:, 0], posteriors[:, 1]
        return Presence(*tracks, self._hop_seconds, own, others)

    def _keep(self, posteriors: np.ndarray) -> None:
        self._track.append(posteriors[:, self._speech])
        heard = np.bincount(posteriors.argmax(1), minlength=len(self._counts))
        self._counts += heard
