"""Recordings of any rate around an enhancer of 16 kHz, with what lies above 8 kHz.

The enhancer hears and gives nothing beyond 8 kHz. What lies there can be dropped, or
kept and turned down as the enhancer turns down the uppermost part of what it hears: the
hiss of an s reaches from 4 kHz far beyond 8.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import soxr

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.sound.queues import Queue, fitted

_HOP, _WINDOW = 160, 320  # 10 and 20 ms
_BAND = slice(80, 141)  # bins of the window: 4 to 7 kHz
_SILENCE = 1e-8  # power in the band (-110 dBFS) that counts as none
_HANN = np.hanning(_WINDOW + 1)[:-1].astype(np.float32)


class Enhancer(Protocol):
    """Enhances the channels of a recording at 16 kHz, piece by piece."""

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take float32 (n, channels), return what is finished: (m, channels)."""

    def flush(self) -> np.ndarray:
        """Return the rest (m, channels): all together as long as what was taken."""


class FullBand:
    """Takes and gives blocks of any rate, and lets an enhancer hear 16 kHz.

    What `process` and the closing `flush` return is, put together, as long as the input
    and aligned with it.

    Args:
        enhancer: at 16 kHz.
        rate: of the recording in Hz.
        channels: of the recording.
        keep: keep what lies above 8 kHz; otherwise drop it.
    """

    def __init__(
        self, enhancer: Enhancer, rate: int, channels: int, keep: bool = True
    ) -> None:
        self._enhancer, self._channels = enhancer, channels
        self._down = Resampler(rate, SAMPLE_RATE, channels)
        self._up = Resampler(SAMPLE_RATE, rate, channels)
        self._above = HighBand(rate, channels) if keep and rate > SAMPLE_RATE else None
        self._owed = 0  # samples that are not out yet

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take float32 (n, channels), return what is finished: (m, channels)."""
        return self._advance(block, last=False)

    def flush(self) -> np.ndarray:
        """Return the rest (m, channels)."""
        return self._advance(np.zeros((0, self._channels), np.float32), last=True)

    def _advance(self, block: np.ndarray, last: bool) -> np.ndarray:
        self._owed += len(block)
        heard = self._down.process(block, last)
        result = self._enhancer.process(heard)
        if last:
            result = np.concatenate([result, self._enhancer.flush()])
        finished = self._up.process(result, last)
        if self._above is not None:
            self._above.push(block, heard, result, finished, last)
            finished = self._above.pop(last)
        # Two resamplers may round the length by a sample.
        finished = fitted(finished, self._owed) if last else finished[: self._owed]
        self._owed -= len(finished)
        return finished


class Resampler:
    """Resamples (n, channels) piece by piece; of equal rates it changes nothing."""

    def __init__(self, given: int, wanted: int, channels: int) -> None:
        self._channels, self._stream = channels, None
        if given != wanted:
            self._stream = soxr.ResampleStream(given, wanted, channels, quality="HQ")

    def process(self, block: np.ndarray, last: bool) -> np.ndarray:
        """Take float32 (n, channels), return what is finished: (m, channels)."""
        if self._stream is None:
            return block
        block = np.ascontiguousarray(block, np.float32)
        if self._channels == 1:  # soxr's single channel has no second axis
            return self._stream.resample_chunk(block[:, 0], last=last)[:, None]
        return self._stream.resample_chunk(block, last=last)


class HighBand:
    """Adds what lies above 8 kHz to an enhanced signal that lacks it.

    Args:
        rate: of the recording in Hz.
        channels: of the recording.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._gains = BandGains(rate, channels)
        self._up = Resampler(SAMPLE_RATE, rate, channels)
        self._heard, self._given, self._audible, self._finished = (
            Queue(channels) for _ in range(4)
        )

    def push(
        self,
        given: np.ndarray,
        heard: np.ndarray,
        result: np.ndarray,
        finished: np.ndarray,
        last: bool,
    ) -> None:
        """Take the next samples of all signals.

        Args:
            given: (n, channels) of the recording.
            heard: (m, channels) of the same at 16 kHz.
            result: (k, channels), enhanced, at 16 kHz.
            finished: (l, channels), the same at the recording's rate.
            last: whether this is the end.
        """
        self._given.push(given)
        self._heard.push(heard)
        self._finished.push(finished)
        heard = fitted(self._heard.pop(len(result)), len(result))
        self._gains.push(heard, result)
        self._audible.push(self._up.process(heard, last))

    def pop(self, last: bool) -> np.ndarray:
        """Return what is complete, (n, channels) at the recording's rate."""
        queues = self._given, self._audible, self._finished
        count = len(self._given)
        if not last:
            count = min(self._gains.ready(), *map(len, queues))
        given, audible, finished = (fitted(q.pop(count), count) for q in queues)
        return finished + self._gains.pop(count) * (given - audible)


class BandGains:
    """How far the uppermost part of what an enhancer hears is turned down.

    It is the ratio of its levels after and before enhancement, of all channels
    together, in 40 ms around every 10 ms; between these it is interpolated.

    Args:
        rate: of the gains in Hz.
        channels: of the signals.
    """

    def __init__(self, rate: int, channels: int) -> None:
        # A frame's middle is its time, the first one's the beginning.
        self._signals = [Queue(channels, ahead=_WINDOW // 2) for _ in range(2)]
        self._powers = Queue(2, ahead=1)  # of the frames from `_first` - 1 on
        self._first, self._position = 0, 0
        self._frames_per_sample = SAMPLE_RATE / (rate * _HOP)

    def push(self, before: np.ndarray, after: np.ndarray) -> None:
        """Take (n, channels) at 16 kHz, before and after enhancement."""
        for queue, signal in zip(self._signals, (before, after), strict=True):
            queue.push(signal)
        powers = [_band_power(q.frames(_WINDOW, _HOP)) for q in self._signals]
        self._powers.push(np.stack(powers, axis=1))

    def ready(self) -> int:
        """Samples whose gain is known and which were not popped."""
        last = self._first + len(self._powers) - 3  # frame whose neighbours are there
        return max(0, int(last / self._frames_per_sample) - self._position)

    def pop(self, count: int) -> np.ndarray:
        """Gains (count, 1) of the next samples; beyond the end, the end's."""
        time = (self._position + np.arange(count)) * self._frames_per_sample
        self._position += count
        track = self._track()
        gains = np.interp(time - self._first, np.arange(len(track)), track)
        passed = int(self._position * self._frames_per_sample) - self._first
        passed = max(0, min(passed, len(self._powers) - 3))
        self._powers.pop(passed)
        self._first += passed
        return gains[:, None].astype(np.float32)

    def _track(self) -> np.ndarray:
        """Gains of the frames from `_first` on; one at least."""
        rows = self._powers.peek()
        rows = np.concatenate([rows, np.zeros((max(0, 3 - len(rows)), 2))])
        before, after = (rows[:-2] + rows[1:-1] + rows[2:]).T
        ratio = (after + _SILENCE) / (before + _SILENCE)
        return np.sqrt(np.minimum(ratio, 1.0))


def _band_power(frames: np.ndarray) -> np.ndarray:
    """Power in the band of (T, channels, window): (T,), of full scale about 1."""
    spectrum = np.fft.rfft(frames * _HANN)[..., _BAND]
    power = np.square(np.abs(spectrum)).sum((1, 2)) / (_WINDOW * _HANN.sum())
    return power.astype(np.float32)
