"""Single key presses while something runs, without waiting for them."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO


class Keys:
    """Reads what has been typed so far.

    Args:
        stream: terminal or pipe; None: nothing is ever typed.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._descriptor = None if stream is None else stream.fileno()

    def pressed(self, timeout: float) -> str:
        """Wait at most ``timeout`` seconds; returns what was typed, mostly nothing."""
        if self._descriptor is None:
            time.sleep(timeout)  # Windows' select takes no empty lists
            return ""
        try:
            ready, _, _ = select.select([self._descriptor], [], [], timeout)
            if not ready:
                return ""
            typed = os.read(self._descriptor, 64)
        except OSError:  # below nohup it can only be written to; a terminal may be gone
            typed = b""
        if not typed:  # the end of a pipe stays readable for ever
            self._descriptor = None
        return typed.decode(errors="ignore")


@contextmanager
def open_keys(stream: TextIO | None = None) -> Iterator[Keys]:
    """Keys of a terminal (default: standard input), which neither waits for Enter nor
    shows them meanwhile; none, with a note, where the system has no termios."""
    stream = sys.stdin if stream is None else stream
    if not stream.isatty():
        yield Keys(stream)
        return
    try:
        import termios
        import tty
    except ModuleNotFoundError:  # Windows
        print("note: no keys on this system; Ctrl-C stops", file=sys.stderr)
        yield Keys(None)
        return
    before = termios.tcgetattr(stream)
    try:
        tty.setcbreak(stream)
        yield Keys(stream)
    finally:
        with suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(stream, termios.TCSADRAIN, before)
