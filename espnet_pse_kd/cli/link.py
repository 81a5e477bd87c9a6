"""A pair of audio devices that is opened again where it has stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

from espnet_pse_kd.cli.devices import Callback, Layer, Pair, Running
from espnet_pse_kd.errors import UserError

# Without a block, after which a device counts as stopped; the first may come late.
_STALLED_SECONDS, _START_SECONDS = 2.0, 5.0
_LATENCIES = (None, 0.1, 0.2, 0.4)  # seconds; None: as little as the device offers
_LOOK_SECONDS = 2.0  # between two questions whether the devices are still the same
_MOST_DROPPED, _WINDOW_SECONDS = 10, 2.0  # more in that time need more latency
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 2.0  # seconds between two tries

_now: Callable[[], float] = time.monotonic


class Listener(Protocol):
    """What the devices call, and what keeps account of the time.

    Attributes:
        heard_at: `time.monotonic` of the last block, or of the last call of `idle`.
        dropped: blocks before which sound was lost, so far.
    """

    heard_at: float
    dropped: int

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

    What stops or loses sound is opened with more latency than before.

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
        self._level, self._opened_at = 0, 0.0
        self._looked_at, self._identity = 0.0, ("", "")
        self._window = (0.0, 0)  # when it began, and what was dropped until then

    def __enter__(self) -> Link:
        self._open()
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
            if not self.running.active or self._stalls(now):
                self._need_more_latency()
                return self._leave(now, "the device stopped; opening it again")
            if self._changed(now):
                return self._leave(now, "the device was taken away")
            if self._loses(now):
                self._need_more_latency()
                return self._leave(now, "sound is lost; trying with more latency")
            return ""
        self._listener.idle(now)
        return self._try_again() if now >= self._next_try else ""

    def _open(self) -> None:
        latency = _LATENCIES[self._level]
        self._identity = self._layer.identity(self._pair)
        self._listener.heard_at = self._opened_at = _now()
        self._window = (self._opened_at, self._listener.dropped)
        self.running = self._opened.enter_context(
            self._layer.open(
                self._pair, self._rate, self._block, self._listener.callback, latency
            )
        )

    def _changed(self, now: float) -> bool:
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        return self._layer.identity(self._pair) != self._identity

    def _stalls(self, now: float) -> bool:
        silent = now - self._listener.heard_at
        started = self._listener.heard_at > self._opened_at
        return silent > (_STALLED_SECONDS if started else _START_SECONDS)

    def _loses(self, now: float) -> bool:
        """Whether blocks are dropped that more latency would save."""
        began, before = self._window
        many = self._listener.dropped - before >= _MOST_DROPPED
        if now - began > _WINDOW_SECONDS:
            self._window = (now, self._listener.dropped)
        return many and self._level < len(_LATENCIES) - 1

    def _need_more_latency(self) -> None:
        self._level = min(self._level + 1, len(_LATENCIES) - 1)

    def _leave(self, now: float, reason: str) -> str:
        self._left_at = self._listener.heard_at
        self.running = None
        self._opened.close()
        self._listener.idle(now)
        self._wait, self._next_try = _FIRST_WAIT, now + _FIRST_WAIT
        return reason

    def _try_again(self) -> str:
        try:
            self._layer.refresh()
            self._open()
        except UserError as error:
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            self._next_try = _now() + self._wait
            first = self._wait == 2 * _FIRST_WAIT
            return f"{error}; trying until it is back" if first else ""
        self.reopened += 1
        return f"the device is back after {_now() - self._left_at:.1f} s"
