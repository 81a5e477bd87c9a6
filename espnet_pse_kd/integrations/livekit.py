"""LiveKit: a frame processor for the audio of a track."""

from __future__ import annotations

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.integrations.pcm import PcmStream
from espnet_pse_kd.runtime.profile import Profile

try:
    from livekit import rtc
except ModuleNotFoundError as error:
    raise ImportError(
        f"livekit: {error}; install it {how_to_install('livekit')}"
    ) from error


class PersonalizedFrameProcessor(rtc.FrameProcessor[rtc.AudioFrame]):
    """Keeps one enrolled voice in the frames of an audio track.

    ``rtc.AudioStream(track, noise_cancellation=processor)`` calls it for every frame,
    and so does what takes a ``noise_cancellation`` in LiveKit's agents. Frames have one
    channel and any sample rate; they keep their length and user data, and come
    `latency_seconds` late. A new sample rate is the beginning of a signal.

    While `enabled` is false LiveKit passes frames by, without any delay. Enabled again,
    the processor starts anew, so that nothing old is heard: with silence of the delay's
    length.

    Args:
        enhancer: the model; one may serve many processors.
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
        # At the model's own rate until a frame tells its rate: this checks both.
        self._pcm = self._open(enhancer.model.sample_rate)

    @property
    def latency_seconds(self) -> float:
        """By how much frames come late; at their rate once there was one."""
        return self._pcm.stream.latency_seconds

    @property
    def enabled(self) -> bool:
        """Whether frames are processed."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and not self._enabled:
            self._pcm.reset()
        self._enabled = value

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        """Enhance the next frame.

        Raises:
            UserError: it has several channels.
        """
        if frame.num_channels != 1:
            raise UserError(
                f"frame: {frame.num_channels} channels; open the track with "
                "AudioStream(..., num_channels=1)"
            )
        if frame.sample_rate != self._pcm.stream.sample_rate:
            self._pcm = self._open(frame.sample_rate)
        return rtc.AudioFrame(
            self._pcm.process(frame.data),
            frame.sample_rate,
            1,
            frame.samples_per_channel,
            userdata=frame.userdata,
        )

    def _close(self) -> None:
        """Forget the signal; the next frame is a beginning."""
        self._pcm.reset()

    def _open(self, rate: int) -> PcmStream:
        return PcmStream(self._enhancer.stream(self._profile, rate, self._limit))
