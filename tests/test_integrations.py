"""Adapters for other programs, on the real packages; skipped where one is missing."""

from __future__ import annotations

import asyncio
import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.integrations.pcm import PcmStream
from espnet_pse_kd.runtime.profile import Profile

GOLDEN = Path(__file__).parent / "golden"
STEP = 1 / 32768
"""Of int16; what comes out is rounded to it."""


@pytest.fixture(scope="module")
def enhancer() -> PersonalizedEnhancer:
    """With the package's own networks."""
    return PersonalizedEnhancer.from_pretrained()


@pytest.fixture(scope="module")
def profile(enhancer: PersonalizedEnhancer) -> Profile:
    return enhancer.enroll(*soundfile.read(GOLDEN / "enrolment.flac"))


@functools.cache
def signal(rate: int, seconds: float = 1.0) -> np.ndarray:
    """The enrolled voice among others, int16 (N,)."""
    mixture, given = soundfile.read(GOLDEN / "mixture.flac", 16000, 80000)
    mixture = soxr.resample(mixture, given, rate)[: round(rate * seconds)]
    return np.rint(mixture * 32767).astype(np.int16)


def pieces(samples: np.ndarray, length: int) -> list[bytes]:
    return [
        samples[start : start + length].tobytes()
        for start in range(0, len(samples), length)
    ]


def streamed(
    enhancer: PersonalizedEnhancer,
    profile: Profile,
    samples: np.ndarray,
    rate: int,
    limit: float | None = None,
) -> np.ndarray:
    """What the Python stream gives, late by its latency and as long as ``samples``."""
    stream = enhancer.stream(profile, rate, limit)
    silence = np.zeros(stream.latency_samples, np.float32)
    return np.concatenate([silence, stream.process(samples), stream.flush()])[
        : len(samples)
    ]


def floats(blocks: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(blocks), np.int16) / 32768


@pytest.mark.parametrize(("rate", "length"), [(16000, 320), (48000, 480), (24000, 7)])
def test_blocks_keep_their_length_and_come_late(
    enhancer: PersonalizedEnhancer, profile: Profile, rate: int, length: int
) -> None:
    samples = signal(rate, 0.5)
    pcm = PcmStream(enhancer.stream(profile, rate))
    given = pieces(samples, length)
    found = [pcm.process(block) for block in given]
    assert [len(block) for block in found] == [len(block) for block in given]
    expected = streamed(enhancer, profile, samples, rate)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(floats(found), expected, atol=STEP)


def test_loud_output_is_limited_not_wrapped() -> None:
    class Loud:
        latency_samples = 0

        def reset(self) -> None:
            pass

        def process(self, chunk: np.ndarray) -> np.ndarray:
            return np.full(len(chunk), 1.5, np.float32)

    assert floats([PcmStream(Loud()).process(bytes(4))]).min() > 0.99  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["pipecat", "livekit"])
def test_without_the_package_the_error_says_what_to_install(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    module = f"espnet_pse_kd.integrations.{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install '\.\[{name}\]'"):
        __import__(module)


# --- Pipecat -------------------------------------------------------------------------


@pytest.fixture
def pipecat():
    pytest.importorskip("pipecat")
    from espnet_pse_kd.integrations import pipecat

    return pipecat


async def through_transport(
    audio_filter, blocks: list[bytes], rate: int, *control
) -> bytes:
    """Audio that a Pipecat transport with a filter pushes into its pipeline.

    Args:
        control: frames that are sent to it before the audio.
    """
    from pipecat.frames.frames import EndFrame, InputAudioRawFrame
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.runner import PipelineRunner
    from pipecat.pipeline.task import PipelineParams, PipelineTask
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.transports.base_input import BaseInputTransport
    from pipecat.transports.base_transport import TransportParams

    found: list[bytes] = []
    wanted = sum(map(len, blocks))

    class Transport(BaseInputTransport):
        async def start(self, frame):
            await super().start(frame)
            await self.set_transport_ready(frame)
            for each in control:
                await self.process_frame(each, FrameDirection.DOWNSTREAM)
            for block in blocks:
                await self.push_audio_frame(InputAudioRawFrame(block, rate, 1))

    class Sink(FrameProcessor):
        async def process_frame(self, frame, direction):
            await super().process_frame(frame, direction)
            if isinstance(frame, InputAudioRawFrame):
                found.append(frame.audio)
                if sum(map(len, found)) >= wanted:
                    await task.queue_frame(EndFrame())
            await self.push_frame(frame, direction)

    params = TransportParams(audio_in_enabled=True, audio_in_filter=audio_filter)
    pipeline = Pipeline([Transport(params), Sink()])
    task = PipelineTask(pipeline, params=PipelineParams(audio_in_sample_rate=rate))
    await asyncio.wait_for(PipelineRunner(handle_sigint=False).run(task), 60)
    return b"".join(found)


@pytest.mark.parametrize("rate", [16000, 24000])
def test_a_transport_s_audio_is_filtered(
    pipecat, enhancer: PersonalizedEnhancer, profile: Profile, rate: int
) -> None:
    samples = signal(rate)
    audio_filter = pipecat.PersonalizedFilter(enhancer, profile)
    blocks = pieces(samples, rate // 50)
    found = floats([asyncio.run(through_transport(audio_filter, blocks, rate))])
    expected = streamed(enhancer, profile, samples, rate)
    np.testing.assert_allclose(found, expected, atol=STEP)
    stream = enhancer.stream(profile, rate)
    assert audio_filter.latency_seconds == stream.latency_seconds


def test_a_transport_s_frames_reach_the_filter(
    pipecat, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    from pipecat.frames.frames import FilterEnableFrame, FilterUpdateSettingsFrame

    samples = signal(16000)
    audio_filter = pipecat.PersonalizedFilter(enhancer, profile)
    control = (
        FilterUpdateSettingsFrame({"attenuation_limit_db": 12.0}),
        FilterEnableFrame(False),
        FilterEnableFrame(True),
    )
    blocks = pieces(samples, 320)
    found = floats(
        [asyncio.run(through_transport(audio_filter, blocks, 16000, *control))]
    )
    expected = streamed(enhancer, profile, samples, 16000, 12.0)
    ramps = 320 + 160
    np.testing.assert_allclose(found[ramps:], expected[ramps:], atol=STEP)


def test_disabled_it_passes_the_input_with_the_same_delay(
    pipecat, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    from pipecat.frames.frames import FilterEnableFrame

    samples = signal(16000)
    blocks = pieces(samples, 320)

    async def run() -> tuple[list[bytes], float]:
        audio_filter = pipecat.PersonalizedFilter(enhancer, profile)
        await audio_filter.start(16000)
        found = []
        for index, block in enumerate(blocks):
            if index in (10, 30):
                await audio_filter.process_frame(FilterEnableFrame(index == 30))
            found.append(await audio_filter.filter(block))
        return found, audio_filter.latency_seconds

    found, latency = asyncio.run(run())
    late = round(latency * 16000)
    original = np.concatenate([np.zeros(late), samples])[: len(samples)] / 32768
    enhanced = streamed(enhancer, profile, samples, 16000)
    passed = slice(12 * 320, 29 * 320)  # past the ramp
    np.testing.assert_allclose(floats(found)[passed], original[passed], atol=STEP)
    for at in (slice(0, 10 * 320), slice(32 * 320, None)):
        np.testing.assert_allclose(floats(found)[at], enhanced[at], atol=STEP)


def test_the_limit_is_a_setting(
    pipecat, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    from pipecat.frames.frames import FilterEnableFrame, FilterUpdateSettingsFrame

    samples = signal(16000)

    async def run() -> bytes:
        audio_filter = pipecat.PersonalizedFilter(enhancer, profile)
        await audio_filter.process_frame(FilterEnableFrame(False))
        update = FilterUpdateSettingsFrame({"attenuation_limit_db": 12.0})
        await audio_filter.process_frame(update)
        await audio_filter.process_frame(FilterEnableFrame(True))
        await audio_filter.start(16000)
        with pytest.raises(UserError, match="depth; there is attenuation_limit_db"):
            await audio_filter.process_frame(FilterUpdateSettingsFrame({"depth": 1}))
        bad = FilterUpdateSettingsFrame({"attenuation_limit_db": -1.0})
        with pytest.raises(UserError, match="0 or more dB"):
            await audio_filter.process_frame(bad)
        return await audio_filter.filter(samples.tobytes())

    expected = streamed(enhancer, profile, samples, 16000, 12.0)
    np.testing.assert_allclose(floats([asyncio.run(run())]), expected, atol=STEP)


def test_a_stopped_filter_starts_anew(
    pipecat, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    samples = signal(16000, 0.2).tobytes()

    async def run() -> tuple[bytes, bytes]:
        audio_filter = pipecat.PersonalizedFilter(enhancer, profile)
        await audio_filter.start(16000)
        first = await audio_filter.filter(samples)
        await audio_filter.stop()
        await audio_filter.start(16000)
        return first, await audio_filter.filter(samples)

    first, second = asyncio.run(run())
    assert first == second


# --- LiveKit -------------------------------------------------------------------------


@pytest.fixture
def livekit():
    pytest.importorskip("livekit.rtc")
    from espnet_pse_kd.integrations import livekit

    return livekit


async def through_track(processor, blocks: list[bytes], rate: int) -> np.ndarray:
    """What comes out of a local track, read through LiveKit's own `AudioStream`.

    It runs in real time and may lose frames: up to half of the blocks is waited for.
    """
    from livekit import rtc

    source = rtc.AudioSource(rate, 1)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    stream = rtc.AudioStream(
        track, sample_rate=rate, num_channels=1, noise_cancellation=processor
    )

    async def feed() -> None:
        for block in blocks:
            frame = rtc.AudioFrame(block, rate, 1, len(block) // 2)
            await source.capture_frame(frame)

    feeding = asyncio.create_task(feed())
    found: list[bytes] = []
    async with asyncio.timeout(30):
        async for event in stream:
            found.append(bytes(event.frame.data))
            if len(found) >= len(blocks) // 2:
                break
    await feeding
    await stream.aclose()
    return floats(found)


@pytest.fixture
def recorder(livekit, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What LiveKit gives the processor."""
    heard: list[bytes] = []
    process = livekit.PersonalizedFrameProcessor._process

    def listen(self, frame):
        heard.append(bytes(frame.data))
        return process(self, frame)

    monkeypatch.setattr(livekit.PersonalizedFrameProcessor, "_process", listen)
    return heard


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_track_s_frames_are_processed(
    livekit, recorder, enhancer: PersonalizedEnhancer, profile: Profile, rate: int
) -> None:
    processor = livekit.PersonalizedFrameProcessor(enhancer, profile)
    blocks = pieces(signal(rate), rate // 100)
    found = asyncio.run(through_track(processor, blocks, rate))
    heard = np.frombuffer(b"".join(recorder), np.int16)
    expected = streamed(enhancer, profile, heard, rate)[: len(found)]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=STEP)
    stream = enhancer.stream(profile, rate)
    assert processor.latency_seconds == stream.latency_seconds


def test_a_disabled_processor_is_passed_by(
    livekit, recorder, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    processor = livekit.PersonalizedFrameProcessor(enhancer, profile)
    processor.enabled = False
    found = asyncio.run(through_track(processor, pieces(signal(16000), 160), 16000))
    assert np.abs(found).max() > 0.01
    assert not recorder


def test_enabling_forgets_what_was_heard_before(
    livekit, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    from livekit import rtc

    samples = signal(16000, 0.1)
    frame = rtc.AudioFrame(samples.tobytes(), 16000, 1, len(samples))
    processor = livekit.PersonalizedFrameProcessor(enhancer, profile)
    first = bytes(processor._process(frame).data)
    assert bytes(processor._process(frame).data) != first
    processor.enabled = True  # it was: nothing is forgotten
    assert bytes(processor._process(frame).data) != first
    processor.enabled = False
    processor.enabled = True
    assert bytes(processor._process(frame).data) == first


def test_user_data_is_kept_and_stereo_refused(
    livekit, enhancer: PersonalizedEnhancer, profile: Profile
) -> None:
    from livekit import rtc

    processor = livekit.PersonalizedFrameProcessor(enhancer, profile)
    frame = rtc.AudioFrame(bytes(320), 16000, 1, 160, userdata={"id": 7})
    assert processor._process(frame).userdata == {"id": 7}
    with pytest.raises(UserError, match=r"2 channels; .* num_channels=1"):
        processor._process(rtc.AudioFrame(bytes(640), 16000, 2, 160))
