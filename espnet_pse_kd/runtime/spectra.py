"""Short-time spectra of signals that come in pieces, and the way back."""

from __future__ import annotations

import numpy as np

_OVERLAP = 4  # windows over every sample
_HOP_SECONDS = 0.008
_FACTOR = 16  # of a hop, so that its transforms are fast: 44.1 kHz gets 352, not 353


class Queue:
    """Rows put in at one end and taken out at the other.

    Args:
        shape: of a row, float32.
        ahead: rows of zeros that are in it from the beginning.
    """

    def __init__(self, *shape: int, ahead: int = 0) -> None:
        self._rows = np.zeros((ahead, *shape), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, rows: np.ndarray) -> None:
        """Append rows."""
        self._rows = np.concatenate([self._rows, rows])

    def pop(self, count: int) -> np.ndarray:
        """Take out the oldest rows, fewer if there are fewer."""
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken

    def windows(self, length: int, hop: int) -> np.ndarray:
        """Take out all windows of a (n, C) queue that are complete: (T, C, length).

        What the next window needs stays.
        """
        count = max(0, (len(self._rows) - length) // hop + 1)
        if not count:
            return np.zeros((0, *self._rows.shape[1:], length), self._rows.dtype)
        slid = np.lib.stride_tricks.sliding_window_view(self._rows, length, axis=0)
        found = slid[: count * hop : hop]
        self._rows = self._rows[count * hop :]
        return found


class Windows:
    """Windows of a rate: four over every sample, square-root Hann, hops of 8 ms.

    Args:
        rate: in Hz.

    Attributes:
        hop: in samples.
        length: of a window, in samples.
        shape: float32 (length,); its squares add up to 2.
        frequencies: float64 (length // 2 + 1,), in Hz.
    """

    def __init__(self, rate: int) -> None:
        self.hop = _FACTOR * max(1, round(_HOP_SECONDS * rate / _FACTOR))
        self.length = _OVERLAP * self.hop
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.length) / self.length)
        self.shape = np.sqrt(hann).astype(np.float32)
        self.frequencies = np.fft.rfftfreq(self.length, 1 / rate)


class Analysis:
    """Spectra of a signal (n, C) that comes in pieces.

    Args:
        windows: to see it through.
        channels: C.
    """

    def __init__(self, windows: Windows, channels: int) -> None:
        self._windows = windows
        ahead = windows.length - windows.hop
        self._signal = Queue(channels, ahead=ahead)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take (n, C), return the spectra that are complete: complex64 (T, C, F)."""
        self._signal.push(block)
        found = self._signal.windows(self._windows.length, self._windows.hop)
        return np.fft.rfft(found * self._windows.shape).astype(np.complex64)

    def finish(self) -> np.ndarray:
        """End the signal: return the rest."""
        width = self._signal.pop(0).shape[1]
        return self.push(np.zeros((self._windows.length, width), np.float32))


class Synthesis:
    """A signal (n, C) of spectra that come in pieces.

    Args:
        windows: of the spectra.
        channels: C.
    """

    def __init__(self, windows: Windows, channels: int) -> None:
        self._windows = windows
        self._sum = np.zeros((windows.length - windows.hop, channels), np.float32)
        self._early = windows.length - windows.hop  # what `Analysis` has put ahead

    def push(self, spectra: np.ndarray) -> np.ndarray:
        """Take (T, C, F), return the samples that are complete: float32 (n, C)."""
        length, hop = self._windows.length, self._windows.hop
        frames = np.fft.irfft(spectra, length).astype(np.float32)
        frames *= self._windows.shape / (_OVERLAP / 2)
        count = len(frames)
        total = np.pad(self._sum, ((0, count * hop), (0, 0)))
        for index, frame in enumerate(frames):
            total[index * hop : index * hop + length] += frame.T
        ready, self._sum = total[: count * hop], total[count * hop :]
        early = min(self._early, len(ready))
        self._early -= early
        return ready[early:]
