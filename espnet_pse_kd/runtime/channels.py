"""Several channels, and all of the band, through a network that hears one of 16 kHz.

The network hears one signal of all channels; what it does to that, as one gain for
every time and frequency, is done to each of them. So stereo stays stereo, and nothing
is added up that could cancel. What lies above 8 kHz, where the network hears nothing,
can follow the gain of the band below: the hiss of an s reaches from 4 kHz far beyond 8.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from espnet_pse_kd.runtime.spectra import Analysis, Queue, Synthesis, Windows

HIGHEST_HZ = 7200.0
"""From here on the resampling to 16 kHz takes something away."""

_LEADING_HZ = 4000.0  # from here on the band leads what lies above it
_CANCELLED = 0.1  # share of the power below which the channels' sum is no guide
_SILENCE = 1e-11  # power of a sample (-110 dBFS) that counts as none


class Downmix:
    """One signal of all channels, in which nothing cancels.

    Each time and frequency has the mean power of the channels there, and the phase of
    their sum; where they cancel, that of the first. The mean would lose what reaches
    the microphones at different times, and all of a channel with wrong polarity.

    Args:
        rate: of the signals in Hz.
        channels: number C of them.
    """

    def __init__(self, rate: int, channels: int) -> None:
        windows = Windows(rate)
        self._analysis = Analysis(windows, channels)
        self._synthesis = Synthesis(windows, 1)
        self._owed = 0
        self._single = channels == 1

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take float32 (n, C), return what is finished: (m,)."""
        if self._single:
            return block[:, 0]
        self._owed += len(block)
        return self._mixed(self._analysis.push(block))

    def flush(self) -> np.ndarray:
        """Return the rest (m,): all together as long as what was taken."""
        if self._single:
            return np.zeros(0, np.float32)
        return self._mixed(self._analysis.finish())

    def _mixed(self, spectra: np.ndarray) -> np.ndarray:
        power = np.square(np.abs(spectra)).mean(1)  # [T, F]
        mean = spectra.mean(1)
        guide = np.where(
            np.square(np.abs(mean)) > _CANCELLED * power, mean, spectra[:, 0]
        )
        phase = guide / np.maximum(np.abs(guide), 1e-12)
        mixed = self._synthesis.push((np.sqrt(power) * phase)[:, None])
        ready = mixed[: self._owed, 0]
        self._owed -= len(ready)
        return ready


class ChannelStream(Protocol):
    """Enhances one channel as it comes, as `EnhancerStream` does.

    Attributes:
        sample_rate: in Hz.
    """

    sample_rate: int

    def process(self, chunk: np.ndarray) -> np.ndarray:
        """Take the next samples (n,), return what is finished: (m,)."""

    def flush(self) -> np.ndarray:
        """Return the rest (m,): all together as long as what was taken."""


class SharedGain:
    """Enhances all channels as the network enhances their `Downmix`.

    Args:
        stream: of the downmix, at the signals' rate.
        channels: number C of them.
        keep_above: let what lies above `HIGHEST_HZ` follow the gain of the band below;
            otherwise the network's output has nothing there.
    """

    def __init__(self, stream: ChannelStream, channels: int, keep_above: bool) -> None:
        self._stream, self._channels = stream, channels
        self._keep_above = keep_above
        self._windows = windows = Windows(stream.sample_rate)
        self._downmix = Downmix(stream.sample_rate, channels)
        self._analysis = Analysis(windows, channels)
        self._pair = Analysis(windows, 2)
        self._synthesis = Synthesis(windows, channels)
        # Samples wait for the stream, not spectra, which take four times the memory.
        self._given, self._heard = Queue(channels), Queue()
        self._owed = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take float32 (n, C), return what is finished: (m, C)."""
        self._owed += len(block)
        self._given.push(block)
        heard = self._downmix.process(block)
        self._heard.push(heard)
        return self._followed(self._stream.process(heard))

    def flush(self) -> np.ndarray:
        """Return the rest (m, C): all together as long as what was taken."""
        heard = self._downmix.flush()
        self._heard.push(heard)
        rest = np.concatenate([self._stream.process(heard), self._stream.flush()])
        most = self._followed(rest)
        last = self._applied(self._analysis.finish(), self._pair.finish())
        return np.concatenate([most, last])

    def _followed(self, enhanced: np.ndarray) -> np.ndarray:
        """The channels (m, C) that follow what the network gave next, (n,).

        That may be much at once, of which a second at a time is enough.
        """
        step = self._stream.sample_rate
        pieces = [enhanced[i : i + step] for i in range(0, len(enhanced), step)]
        found = [self._follow(piece) for piece in pieces]
        return np.concatenate([np.zeros((0, self._channels), np.float32), *found])

    def _follow(self, enhanced: np.ndarray) -> np.ndarray:
        count = len(enhanced)
        pair = np.stack([self._heard.pop(count), enhanced], axis=1)
        spectra = self._analysis.push(self._given.pop(count))
        return self._applied(spectra, self._pair.push(pair))

    def _applied(self, spectra: np.ndarray, pair: np.ndarray) -> np.ndarray:
        """The channels (T, C, F) with the gains that a pair (T, 2, F) tells."""
        gains = self._gains(*np.square(np.abs(pair)).transpose(1, 0, 2))
        ready = self._synthesis.push(gains[:, None] * spectra)[: self._owed]
        self._owed -= len(ready)
        return ready

    def _gains(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Amplitudes (T, F), at most 1, of powers (T, F) before and after."""
        gains = self._ratio(_blurred(before), _blurred(after))
        if self._keep_above:
            hertz = self._windows.frequencies
            leading = (hertz >= _LEADING_HZ) & (hertz < HIGHEST_HZ)
            led = [power[:, leading].mean(1) for power in (before, after)]
            gains[:, hertz >= HIGHEST_HZ] = self._ratio(*led)[:, None]
        return gains

    def _ratio(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        silence = _SILENCE * self._windows.length / 2
        ratio = (after + silence) / (before + silence)
        return np.sqrt(np.minimum(ratio, 1.0))


def _blurred(power: np.ndarray) -> np.ndarray:
    """Power (T, F) over three bins: single ones may hold next to nothing."""
    padded = np.pad(power, ((0, 0), (1, 1)), "edge")
    return 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
