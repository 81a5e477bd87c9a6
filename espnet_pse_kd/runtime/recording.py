"""A whole recording through an exported network: heard, steered, enhanced in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from espnet_pse_kd.runtime.meter import Presence, PresenceMeter
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.steering import Steering, steer
from espnet_pse_kd.runtime.stream import EnhancerStream


class RecordingEnhancer:
    """Enhances one recording of any length, of which it holds no more than a block.

    A recording, other than a live signal, can be heard first: `hear` lets the personal
    VAD find the voice, `steer` makes `enhance` protect it there and turn its absences
    down, see `runtime.steering`. Both may be left out. `enhance` once per object.

    Blocks are (n, channels), full scale = 1, of any lengths, in order; `hear` and
    `enhance` each take all of them.

    Args:
        model: the network.
        profile: of the voice to keep.
        sample_rate: of the recording, in Hz.
        channels: of the recording.
        per_channel: enhance each channel by itself; otherwise their mean, which then
            stands in all of them.
        attenuation_limit_db: how far anything may be turned down; None: no limit.

    Raises:
        UserError: the profile is another speaker encoder's, or the limit is no number
            of dB (both when `enhance` begins).
    """

    def __init__(
        self,
        model: StreamingModel,
        profile: Profile,
        sample_rate: int,
        channels: int = 1,
        per_channel: bool = False,
        attenuation_limit_db: float | None = None,
    ) -> None:
        self._model, self._profile = model, profile
        self._rate, self._channels = sample_rate, channels
        self._limit_db = attenuation_limit_db
        self._per_channel = per_channel
        self._steerings: list[Steering | None] = [None] * self._streams

    @property
    def _streams(self) -> int:
        """How many signals are enhanced."""
        return self._channels if self._per_channel else 1

    def hear(
        self, personal_vad: OnnxPersonalVAD, blocks: Iterable[np.ndarray]
    ) -> list[Presence]:
        """Where the voice speaks in every signal that is enhanced."""
        meters = [
            PresenceMeter(personal_vad, self._profile, self._rate)
            for _ in range(self._streams)
        ]
        for block in blocks:
            for meter, signal in zip(meters, self._signals(block), strict=True):
                meter.add(signal)
        return [meter.finish() for meter in meters]

    def steer(self, heard: Sequence[Presence]) -> bool:
        """Let what was heard decide where `enhance` protects and turns down.

        Returns:
            whether the voice is heard anywhere; if not, all is turned down.
        """
        steerings = [steer(one.posterior, one.hop_seconds) for one in heard]
        self._steerings = [*steerings]
        return any(steering.floor.any() for steering in steerings)

    def enhance(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Enhanced blocks, float32 (m, channels), together as long as the recording."""
        streams = [
            EnhancerStream(
                self._model, self._profile, self._rate, self._limit_db, steering
            )
            for steering in self._steerings
        ]
        for block in blocks:
            signals = self._signals(block)
            yield self._columns(
                [s.process(x) for s, x in zip(streams, signals, strict=True)]
            )
        yield self._columns([stream.flush() for stream in streams])

    def _signals(self, block: np.ndarray) -> np.ndarray:
        """What is enhanced of a block (n, channels): (streams, n)."""
        return block.T if self._per_channel else block.mean(1)[None]

    def _columns(self, signals: list[np.ndarray]) -> np.ndarray:
        """One signal for all channels, or one for each: (n, channels)."""
        return np.stack(signals * (self._channels // len(signals)), axis=1)
