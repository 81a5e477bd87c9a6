"""One line that says how far a batch of recordings is, in minutes of audio."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

import numpy as np

_SECONDS_BETWEEN_LINES = 15.0
_SECONDS_BETWEEN_REDRAWS = 0.5


class BatchProgress:
    """Counts the seconds of audio that are done, and shows them now and then.

    A terminal's line is drawn anew; a log gets a line every 15 s.

    Args:
        seconds: of audio, in all.
        files: how many.
        stream: where to, default: standard error.
    """

    def __init__(
        self, seconds: float, files: int, stream: TextIO | None = None
    ) -> None:
        self._total, self._files = seconds, files
        self._stream = stream or sys.stderr
        self._redraws = self._stream.isatty()
        self._start = self._last = time.monotonic()
        self._done, self._file = 0.0, 0
        self._shown = False

    def begin(self) -> None:
        """The next file begins."""
        self._file += 1

    def add(self, seconds: float) -> None:
        """So much more audio is done."""
        self._done += seconds
        between = _SECONDS_BETWEEN_REDRAWS if self._redraws else _SECONDS_BETWEEN_LINES
        if time.monotonic() - self._last >= between:
            self._last = time.monotonic()
            self._show()

    def expect(self, seconds: float) -> None:
        """There is so much more audio than was thought; negative: less."""
        self._total += seconds

    def clear(self) -> None:
        """Take the line off the terminal, for others to be written."""
        if self._shown and self._redraws:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
        self._shown = False

    def count(
        self, blocks: Iterable[np.ndarray], rate: int, share: float
    ) -> Iterator[np.ndarray]:
        """Pass blocks (n, channels) on, and count a share of their time as done."""
        for block in blocks:
            yield block
            self.add(share * len(block) / rate)

    def line(self) -> str:
        """What is shown."""
        done, total = min(self._done, self._total), self._total
        spent = time.monotonic() - self._start
        left = spent * (total / done - 1) if done else 0.0
        files = f"file {self._file} of {self._files}, " if self._files > 1 else ""
        return (
            f"{done / 60:.1f} of {total / 60:.1f} min of audio, {files}"
            f"{_duration(left)} left"
        )

    def _show(self) -> None:
        start, end = ("\r\x1b[K", "") if self._redraws else ("", "\n")
        print(f"{start}{self.line()}", end=end, file=self._stream, flush=True)
        self._shown = True


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
