"""Several channels and all of the band through a network that hears one of 16 kHz."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pytest

from espnet_pse_kd.runtime.channels import HIGHEST_HZ, Downmix, SharedGain
from espnet_pse_kd.runtime.meter import Presence
from espnet_pse_kd.runtime.noise_keeping import NoiseKeeper
from espnet_pse_kd.runtime.spectra import Analysis, Queue, Synthesis, Windows

RATES = [8000, 16000, 22050, 44100, 48000]


class Stream(Protocol):
    def process(self, chunk: np.ndarray) -> np.ndarray: ...

    def flush(self) -> np.ndarray: ...


class Quieter:
    """Stands in for an `EnhancerStream`: late by 500 samples, turns down below 8 kHz.

    Above 8 kHz nothing is left, as by the resampling.
    """

    def __init__(self, rate: int, gain: float) -> None:
        self.sample_rate, self._gain = rate, gain
        self._waiting = np.zeros(0, np.float32)

    def process(self, chunk: np.ndarray) -> np.ndarray:
        self._waiting = np.concatenate([self._waiting, chunk])
        count = max(0, len(self._waiting) - 500)
        ready, self._waiting = self._waiting[:count], self._waiting[count:]
        return np.float32(self._gain) * ready

    def flush(self) -> np.ndarray:
        ready, self._waiting = self._waiting, self._waiting[:0]
        return np.float32(self._gain) * ready


def run(stream: Stream, signal: np.ndarray, size: int) -> np.ndarray:
    """All that a stream gives of a signal, taken in chunks."""
    pieces = [stream.process(signal[i : i + size]) for i in range(0, len(signal), size)]
    return np.concatenate([*pieces, stream.flush()])


def noise(samples: int, channels: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal((samples, channels)).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
def test_spectra_and_back(rate: int) -> None:
    windows, signal = Windows(rate), noise(rate + 17, 3)
    analysis, synthesis = Analysis(windows, 3), Synthesis(windows, 3)
    spectra = [analysis.push(signal[:100]), analysis.push(signal[100:])]
    found = synthesis.push(np.concatenate([*spectra, analysis.finish()]))
    np.testing.assert_allclose(found[: len(signal)], signal, atol=1e-6)
    assert np.abs(found[len(signal) :]).max() < 1e-6


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_one_gain_for_all(rate: int, channels: int, gain: float) -> None:
    """What the network does to the downmix is done to each, in chunks of any size."""
    signal = noise(rate + 17, channels)
    found = [
        run(SharedGain(Quieter(rate, gain), channels, True), signal, size)
        for size in (rate, 777)
    ]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], gain * signal, atol=1e-6)


@pytest.mark.parametrize("keep", [True, False])
def test_the_band_above(keep: bool) -> None:
    """Where the network gives nothing, it follows the band below, if it is kept."""
    rate = 48000
    time = np.arange(rate) / rate
    below, above = (0.1 * np.sin(2 * np.pi * f * time) for f in (5000, 12000))
    assert HIGHEST_HZ < 12000

    class Low(Quieter):
        """Removes the sine above."""

        def process(self, chunk: np.ndarray) -> np.ndarray:
            ready = super().process(chunk)
            start, self.position = self.position, self.position + len(ready)
            return ready - (self._gain * above[start : self.position]).astype("f4")

        def flush(self) -> np.ndarray:
            return self.process(np.zeros(500, np.float32))

        position = 0

    signal = (below + above).astype(np.float32)[:, None]
    found = run(SharedGain(Low(rate, 0.3), 1, keep), signal, 1000)
    expected = 0.3 * (below + above if keep else below)
    inside = slice(2000, -2000)
    np.testing.assert_allclose(found[inside, 0], expected[inside], atol=2e-3)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_nothing_cancels_in_a_downmix(rate: int) -> None:
    [signal] = noise(2 * rate, 1).T
    late = np.concatenate([np.zeros(9, np.float32), signal[:-9]])
    for other in (signal, -signal, late):
        both = np.stack([signal, other], axis=1)
        found = run(Downmix(rate, 2), both, 1000)
        assert len(found) == len(signal)
        level = np.std(found) / np.std(signal)
        assert 0.9 < level < 1.01
    np.testing.assert_array_equal(run(Downmix(rate, 1), both[:, :1], 99), signal)
    same = run(Downmix(rate, 2), np.stack([signal, signal], axis=1), 1000)
    np.testing.assert_allclose(same, signal, atol=1e-6)


def test_queue() -> None:
    queue = Queue(2, ahead=1)
    queue.push(np.ones((4, 2), np.float32))
    assert len(queue) == 5
    assert queue.windows(3, 2).shape == (2, 2, 3)
    assert len(queue) == 1 and not len(queue.windows(3, 2))
    assert len(queue.pop(9)) == 1 and not len(queue)


class Hearing:
    """Stands in for the personal VAD: others speak in seconds 2 and 3."""

    classes, hop, sample_rate = ("ns", "ntss", "tss"), 160, 16000

    def stream(self, vector: object, rate: int) -> Any:
        hearing, seconds_per_sample = self, 1 / rate

        class Posteriors:
            seconds, frames = 0.0, 0

            def process(self, wave: np.ndarray) -> np.ndarray:
                self.seconds += len(wave) * seconds_per_sample
                return self.until(int(100 * (self.seconds - 0.4)))

            def finish(self) -> np.ndarray:
                return self.until(int(100 * self.seconds) + 1)

            def until(self, end: int) -> np.ndarray:
                frames = np.arange(self.frames, max(end, self.frames))
                self.frames = max(end, self.frames)
                return hearing.posterior(frames)

        return Posteriors()

    def posterior(self, frames: np.ndarray) -> np.ndarray:
        found = np.zeros((len(frames), 3), np.float32)
        found[:, 1] = (frames >= 200) & (frames < 400)
        return found


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("known", [False, True])
def test_noise_is_put_back_where_nobody_else_speaks(rate: int, known: bool) -> None:
    """Known: what was heard in the recording itself, others in second 5."""
    vector: Any = None
    others = np.zeros(800, np.float32)
    others[500:600] = 1.0
    heard = Presence(0 * others, others, 0.01, 0.0, 0.0) if known else None
    signal = noise(8 * rate - 7, 1)[:, 0]
    vad: Any = Hearing()
    found = [
        run(NoiseKeeper(Quieter(rate, 0.1), vad, vector, heard), signal, size)  # type: ignore
        for size in (rate, 1777)
    ]
    np.testing.assert_array_equal(*found)

    def part(first: float, last: float, gain: float) -> None:
        inside = slice(round(first * rate), round(last * rate))
        np.testing.assert_allclose(found[0][inside], gain * signal[inside], atol=1e-6)

    assert len(found[0]) == len(signal)
    part(0.0, 1.8, 1.0)
    part(2.05, 3.92, 0.1)
    part(4.2, 4.8, 1.0)
    part(5.05, 5.92, 0.1 if known else 1.0)
    part(6.2, 7.9, 1.0)


def test_shorter_than_a_window() -> None:
    for samples in (0, 1, 100):
        signal = noise(samples, 2)
        found = run(SharedGain(Quieter(16000, 0.5), 2, True), signal, 99)
        np.testing.assert_allclose(found, 0.5 * signal, atol=1e-6)
