"""Single key presses while something runs, without waiting for them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class Keys:
    """Reads what has been typed so far.

    Args:
        stream: terminal or pipe.
    """

    def __init__(self, stream: TextIO) -> None:
        self._descriptor: int | None = stream.fileno()

    def pressed(self, timeout: float) -> str:
        """Wait at most ``timeout`` seconds; returns what was typed, mostly nothing."""
        watched = [] if self._descriptor is None else [self._descriptor]
        try:
            ready, _, _ = select.select(watched, [], [], timeout)
            if not ready:
                return ""
            typed = os.read(ready[0], 64)
        except OSError:  # below nohup it can only be written to; a terminal may be gone
            typed = b""
        if not typed:  # the end of a pipe stays readable for ever
            self._descriptor = None
        return typed.decode(errors="ignore")


@contextmanager
def open_keys(stream: TextIO | None = None) -> Iterator[Keys]:
    """Keys of a terminal (default: standard input), which neither waits for Enter nor
    shows them meanwhile."""
    stream = sys.stdin if stream is None else stream
    if not stream.isatty():
        yield Keys(stream)
        return
    import termios
    import tty

    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield Keys(stream)
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(stream, termios.TCSADRAIN, before)
