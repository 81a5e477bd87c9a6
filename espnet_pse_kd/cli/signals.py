"""Signals by which a command is told to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]
Previous = Handler | int | signal.Handlers | None
"""What `signal.signal` returns: None where a handler was not installed by Python."""


def on_signals(names: tuple[str, ...], handler: Handler) -> dict[int, Previous]:
    """Handle signals, but for those that are ignored: as SIGHUP is below ``nohup``.

    Args:
        names: such as ``SIGTERM``; one that the system does not have is left out.
        handler: what to call.

    Returns:
        What handled each before.
    """
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return {
        number: signal.signal(number, handler)
        for number in numbers
        if signal.getsignal(number) != signal.SIG_IGN
    }


@contextmanager
def stopped_once() -> Iterator[None]:
    """Let the first signal to stop raise KeyboardInterrupt, and ignore all later ones.

    So nothing can break off what is saved after the first.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    before: dict[int, Previous] = {}
    before |= on_signals(("SIGINT", "SIGTERM", "SIGHUP"), stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
