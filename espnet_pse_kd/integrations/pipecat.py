"""Pipecat: a filter for the audio that a transport receives, or sends."""

from __future__ import annotations

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.integrations.pcm import PcmStream
from espnet_pse_kd.runtime.profile import Profile

try:
    from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
    from pipecat.frames.frames import (
        FilterControlFrame,
        FilterEnableFrame,
        FilterUpdateSettingsFrame,
    )
except ModuleNotFoundError as error:
    raise ImportError(
        f"pipecat-ai: {error}; install it {how_to_install('pipecat')}"
    ) from error

_LIMIT = "attenuation_limit_db"


class PersonalizedFilter(BaseAudioFilter):
    """Keeps one enrolled voice in a transport's audio.

    ``TransportParams(audio_in_filter=PersonalizedFilter(enhancer, profile))`` puts it
    before voice activity detection and recognition. The audio has one channel, as is
    Pipecat's default, and any sample rate. Blocks keep their length; they come
    `latency_seconds` late.

    ``FilterEnableFrame(False)`` passes the input, ``FilterEnableFrame(True)`` filters
    again: both over a ramp of 10 ms and with the same delay, so that nothing clicks or
    is heard twice. ``FilterUpdateSettingsFrame({"attenuation_limit_db": 12.0})`` sets
    the limit, None takes it off.

    Args:
        enhancer: the model; one may serve many filters.
        profile: the enrolled voice.
        attenuation_limit_db: how far anything may be turned down; None: no limit.

    Raises:
        UserError: the profile is another encoder's, or the limit makes no sense.
    """

    def __init__(
        self,
        enhancer: PersonalizedEnhancer,
        profile: Profile,
        attenuation_limit_db: float | None = None,
    ) -> None:
        self._enhancer, self._profile = enhancer, profile
        self._limit, self._enabled = attenuation_limit_db, True
        # At the model's own rate until a transport tells its rate: this checks both.
        self._pcm = self._open(enhancer.model.sample_rate)

    @property
    def latency_seconds(self) -> float:
        """By how much the audio comes late; at the transport's rate once it started."""
        return self._pcm.stream.latency_seconds

    async def start(self, sample_rate: int) -> None:
        """Begin a signal at the transport's rate, in Hz."""
        self._pcm = self._open(sample_rate)

    async def stop(self) -> None:
        """Forget the signal."""
        self._pcm.reset()

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """Enable, disable, or set the attenuation limit.

        Raises:
            UserError: a setting is unknown, or its value makes no sense.
        """
        if isinstance(frame, FilterEnableFrame):
            self._enabled = frame.enable
        elif isinstance(frame, FilterUpdateSettingsFrame):
            unknown = sorted(frame.settings.keys() - {_LIMIT})
            if unknown:
                raise UserError(f"settings: {', '.join(unknown)}; there is {_LIMIT}")
            limit = frame.settings.get(_LIMIT, self._limit)
            self._pcm.stream.attenuation_limit_db = limit  # checks it
            self._limit = limit
        self._pcm.stream.attenuation_limit_db = self._limit if self._enabled else 0.0

    async def filter(self, audio: bytes) -> bytes:
        """Enhance the next block of int16 samples."""
        return self._pcm.process(audio)

    def _open(self, rate: int) -> PcmStream:
        limit = self._limit if self._enabled else 0.0
        return PcmStream(self._enhancer.stream(self._profile, rate, limit))
