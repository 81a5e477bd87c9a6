"""A pair of audio devices that is opened again where it has stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

from espnet_pse_kd.cli.devices import Callback, Layer, Pair, Running
from espnet_pse_kd.errors import UserError

_STALLED_SECONDS = 3.0  # without a block, after which a device counts as stopped
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0  # seconds between two tries

_now: Callable[[], float] = time.monotonic


class Listener(Protocol):
    """What the devices call, and what keeps account of the time.

    Attributes:
        heard_at: `time.monotonic` of the last block, or of the last call of `idle`.
    """

    heard_at: float

    @property
    def callback(self) -> Callback: ...

    def idle(self, now: float) -> None:
        """Time until ``now`` has passed without sound."""


class Link:
    """Keeps a pair of devices running; a context, inside of which it is open.

    Args:
        layer: the devices of this machine.
        pair: which.
        rate: Hz.
        block: samples per call.
        listener: what is called.

    Attributes:
        running: the pair, None while it is away.
        reopened: how often it came back.

    Raises:
        UserError: it cannot be opened in the first place.
    """

    def __init__(
        self, layer: Layer, pair: Pair, rate: int, block: int, listener: Listener
    ) -> None:
        self._layer, self._pair = layer, pair
        self._rate, self._block, self._listener = rate, block, listener
        self._opened = ExitStack()
        self.running: Running | None = None
        self.reopened = 0
        self._wait, self._next_try, self._left_at = _FIRST_WAIT, 0.0, 0.0

    def __enter__(self) -> Link:
        self._open(careful=False)
        return self

    def __exit__(self, *ignored: object) -> None:
        self._opened.close()

    def tend(self) -> str:
        """See whether the devices run, and open them again; to be called often.

        Returns:
            What there is to say, mostly nothing.
        """
        now = _now()
        if self.running is not None:
            stalled = now - self._listener.heard_at > _STALLED_SECONDS
            return self._leave(now) if stalled or not self.running.active else ""
        self._listener.idle(now)
        return self._try_again() if now >= self._next_try else ""

    def _open(self, careful: bool) -> None:
        self._listener.heard_at = _now()
        self.running = self._opened.enter_context(
            self._layer.open(
                self._pair, self._rate, self._block, self._listener.callback, careful
            )
        )

    def _leave(self, now: float) -> str:
        self._left_at = self._listener.heard_at
        self.running = None
        self._opened.close()
        self._listener.idle(now)
        self._wait, self._next_try = _FIRST_WAIT, now + _FIRST_WAIT
        return "the device stopped; opening it again"

    def _try_again(self) -> str:
        try:
            self._layer.refresh()
            self._open(careful=True)
        except UserError as error:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._next_try = _now() + self._wait
            first = self._wait == 2 * _FIRST_WAIT
            return f"{error}; trying until it is back" if first else ""
        self.reopened += 1
        return f"the device is back after {_now() - self._left_at:.1f} s"
