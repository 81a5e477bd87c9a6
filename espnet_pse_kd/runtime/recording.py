"""A whole recording through an exported network: heard, steered, enhanced in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, check_rate
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.band import FULL
from espnet_pse_kd.runtime.channels import ChannelStream, Downmix, SharedGain
from espnet_pse_kd.runtime.meter import Presence, PresenceMeter
from espnet_pse_kd.runtime.model import StreamingModel
from espnet_pse_kd.runtime.noise_keeping import NoiseKeeper
from espnet_pse_kd.runtime.profile import Profile
from espnet_pse_kd.runtime.pvad import OnnxPersonalVAD
from espnet_pse_kd.runtime.steering import NORMAL, Steering, Strength, steer
from espnet_pse_kd.runtime.stream import EnhancerStream, speaker_vector

MOST_CHANNELS = 1024
"""As many as libsndfile reads."""


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
        per_channel: enhance each channel by itself; otherwise one gain is applied to
            all of them, see `runtime.channels`.
        attenuation_limit_db: how far anything may be turned down; None: no limit.
        keep_above: let what lies above 8 kHz follow the gain of the band below;
            otherwise the network leaves nothing of it.
        band: of the speech in it, see `runtime.band.measure_band`.

    Raises:
        UserError: the profile is none, or another speaker encoder's, the rate or the
            number of channels is none that a recording has, or the limit is no number
            of dB (told by `enhance`).
    """

    def __init__(
        self,
        model: StreamingModel,
        profile: Profile,
        sample_rate: int,
        channels: int = 1,
        per_channel: bool = False,
        attenuation_limit_db: float | None = None,
        keep_above: bool = False,
        band: str = FULL,
    ) -> None:
        check_rate(sample_rate, "rate")
        whole = isinstance(channels, int) and not isinstance(channels, bool)
        if not (whole and 1 <= channels <= MOST_CHANNELS):
            raise UserError(f"channels: {channels!r:.60}; give 1 to {MOST_CHANNELS}")
        speaker_vector(model, profile, band)
        self._model, self._profile, self._band = model, profile, band
        self._rate, self._channels = sample_rate, channels
        self._limit_db = attenuation_limit_db
        self._per_channel = per_channel
        self._keep_above = keep_above and sample_rate > SAMPLE_RATE
        self._steerings: list[Steering | None] = [None] * self._streams
        self._keepers: list[tuple[OnnxPersonalVAD, Presence]] = []

    @property
    def _streams(self) -> int:
        """How many signals are enhanced."""
        return self._channels if self._per_channel else 1

    def hear(
        self, personal_vad: OnnxPersonalVAD, blocks: Iterable[np.ndarray]
    ) -> list[Presence]:
        """Where the voice speaks in every signal that is enhanced."""
        meters = [
            PresenceMeter(personal_vad, self._profile, self._rate, self._band)
            for _ in range(self._streams)
        ]
        downmixes = [Downmix(self._rate, self._width) for _ in meters]
        for block in blocks:
            for meter, mix, part in zip(
                meters, downmixes, self._parts(block), strict=True
            ):
                meter.add(mix.process(part))
        for meter, mix in zip(meters, downmixes, strict=True):
            meter.add(mix.flush())
        return [meter.finish() for meter in meters]

    def steer(self, heard: Sequence[Presence], strength: Strength = NORMAL) -> bool:
        """Let what was heard decide where `enhance` protects and turns down.

        Returns:
            whether the voice is heard anywhere; if not, all is turned down.
        """
        steerings = [steer(one.posterior, one.hop_seconds, strength) for one in heard]
        self._steerings = [*steerings]
        return any(steering.floor.any() for steering in steerings)

    def keep_noise(
        self, personal_vad: OnnxPersonalVAD, heard: Sequence[Presence]
    ) -> None:
        """Let `enhance` remove other voices only, see `runtime.noise_keeping`."""
        self._keepers = [(personal_vad, presence) for presence in heard]

    def enhance(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Enhanced blocks, float32 (m, channels), together as long as the recording."""
        parts = [self._part(number) for number in range(self._streams)]
        for block in blocks:
            pieces = zip(parts, self._parts(block), strict=True)
            yield np.concatenate([p.process(piece) for p, piece in pieces], axis=1)
        yield np.concatenate([part.flush() for part in parts], axis=1)

    @property
    def _width(self) -> int:
        """How many channels are enhanced together."""
        return 1 if self._per_channel else self._channels

    def _parts(self, block: np.ndarray) -> list[np.ndarray]:
        """What is enhanced together of a block (n, channels): each (n, width)."""
        return np.split(block, self._streams, axis=1)

    def _part(self, number: int) -> _Part:
        stream = self._stream(number)
        if self._width == 1 and not self._keep_above:
            return _Plain(stream)
        return SharedGain(stream, self._width, self._keep_above)

    def _stream(self, number: int) -> ChannelStream:
        """What enhances one signal."""
        stream = EnhancerStream(
            self._model,
            self._profile,
            self._rate,
            self._limit_db,
            self._steerings[number],
            self._band,
        )
        if not self._keepers:
            return stream
        vad, presence = self._keepers[number]
        vector = self._profile.vector(vad.speaker_encoder, vad.speaker_dim, self._band)
        return NoiseKeeper(stream, vad, vector, presence)


class _Part(Protocol):
    """Enhances some channels: (n, C) in, (m, C) out, all together of one length."""

    def process(self, block: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


class _Plain:
    """A single channel as the network gives it."""

    def __init__(self, stream: ChannelStream) -> None:
        self._stream = stream

    def process(self, block: np.ndarray) -> np.ndarray:
        return self._stream.process(block[:, 0])[:, None]

    def flush(self) -> np.ndarray:
        return self._stream.flush()[:, None]
