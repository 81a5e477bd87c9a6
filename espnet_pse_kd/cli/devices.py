"""Audio devices through PortAudio: the only module that knows of ``sounddevice``.

`live` works with anything that has the interface of `PortAudio`; the tests put files in
its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

from espnet_pse_kd.cli.pulse import PREFIX, identity, route, sources_and_sinks
from espnet_pse_kd.errors import UserError, how_to_install

Callback = Callable[[np.ndarray, np.ndarray, bool], None]
"""``callback(given (n,), wanted (n,), dropped)``: reads ``given``, fills ``wanted``.

``dropped``: the system lost samples since the last call. A thread of its own calls it.
"""


class Device(NamedTuple):
    """One audio device.

    Attributes:
        number: by which it can be chosen.
        name: what the system calls it.
        inputs: number of input channels.
        outputs: number of output channels.
        rate: its default sampling rate in Hz.
        default: ``in``, ``out``, ``in out``, or empty.
    """

    number: int
    name: str
    inputs: int
    outputs: int
    rate: int
    default: str

    def __str__(self) -> str:
        default = f"  [default {self.default}]" if self.default else ""
        return (
            f"{self.number:3d}  {self.name}  ({self.inputs} in, {self.outputs} out, "
            f"{self.rate} Hz){default}"
        )


class Pair(NamedTuple):
    """Input and output device, by number or part of the name; None: the default."""

    source: int | str | None
    sink: int | str | None


class Running(Protocol):
    """A running pair."""

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds that input and output take with their drivers."""

    @property
    def active(self) -> bool:
        """False once it has stopped by itself."""


_LEAST = 3
"""Blocks that the output holds at least: its thread also runs the network."""


class Bridge:
    """What lies between the streams of two devices.

    Each device has a stream of its own. One stream for both spins where ALSA leads to
    a sound server: half a core for nothing. The output's thread works; it takes what
    the input's has left, in order. Where the input is late there is silence until two
    blocks are there again, and where the output is late the oldest block goes.

    Args:
        block: samples per call.
        callback: see `Callback`.
    """

    READY, MOST = 2, 6  # blocks from which, and up to which, they are handed on

    def __init__(self, block: int, callback: Callback) -> None:
        self._block, self._callback = block, callback
        self._blocks: deque[np.ndarray] = deque()
        self._flows, self._lost = False, False
        self.streams: list[Any] = []

    def hear(self, given: np.ndarray, frames: int, time: object, status: Any) -> None:
        """Called by the input's thread with ``given`` (n, 1)."""
        if status.input_overflow:
            self._lost = True
        self._blocks.append(given.copy())
        if len(self._blocks) > self.MOST:
            self._blocks.popleft()
            self._lost = True

    def speak(self, wanted: np.ndarray, frames: int, time: object, status: Any) -> None:
        """Called by the output's thread, which wants (n, 1)."""
        if status.output_underflow and self._flows:
            self._lost = True
        if not self._flows and len(self._blocks) >= self.READY:
            self._flows = True
        if not self._flows or not self._blocks:
            self._lost |= self._flows
            self._flows = False
            wanted[:] = 0
            return
        lost, self._lost = self._lost, False
        self._callback(self._blocks.popleft()[:, 0], wanted[:, 0], lost)

    @property
    def latency(self) -> tuple[float, float]:
        """Seconds of the input with the blocks that wait, and of the output."""
        given, wanted = self.streams
        waiting = self.READY * self._block / given.samplerate
        return given.latency + waiting, wanted.latency

    @property
    def active(self) -> bool:
        """False once one of both has stopped by itself."""
        return all(stream.active for stream in self.streams)


class Layer(Protocol):
    """Audio devices: `PortAudio`, or what stands in for it."""

    def open(
        self,
        pair: Pair,
        rate: int,
        block: int,
        callback: Callback,
        latency: float | None,
    ) -> AbstractContextManager[Running]: ...

    def refresh(self) -> None: ...

    def identity(self, pair: Pair) -> tuple[str, str]: ...


class PortAudio:
    """The devices of this machine.

    Raises:
        UserError: sounddevice or the PortAudio library is missing.
    """

    def __init__(self) -> None:
        try:
            import sounddevice
        except ImportError:
            raise UserError(
                f"live audio: sounddevice is not installed; {how_to_install('live')}"
            ) from None
        except OSError:  # its own message when it finds no library
            raise UserError(
                "live audio: the PortAudio library is missing; run: apt install "
                "libportaudio2 (or your system's package of that name)"
            ) from None
        self._sounddevice = sounddevice

    def devices(self) -> list[Device]:
        """All devices, in the order of their numbers."""
        chosen = self._sounddevice.default.device  # -1 where there is none
        return [
            Device(
                number,
                str(found["name"]),
                found["max_input_channels"],
                found["max_output_channels"],
                round(found["default_samplerate"]),
                " ".join(
                    word
                    for word, default in zip(("in", "out"), chosen, strict=True)
                    if number == default
                ),
            )
            for number, found in enumerate(self._sounddevice.query_devices())
        ]

    def listing(self) -> list[str]:
        """A line for each device, and for each source and sink of a sound server."""
        lines = list(map(str, self.devices()))
        for word, names in zip(("input", "output"), sources_and_sinks()):
            lines += [f"     {PREFIX}{name}  (--{word})" for name in names]
        return lines

    def refresh(self) -> None:
        """Look for devices anew: those of PortAudio are what was there at its start."""
        self._sounddevice._terminate()
        self._sounddevice._initialize()

    def identity(self, pair: Pair) -> tuple[str, str]:
        """What changes when one of the two is no longer the same; see `pulse`."""
        return identity(pair.source, "sources"), identity(pair.sink, "sinks")

    def rate(self, pair: Pair, wanted: int) -> int:
        """The rate at which to open a pair: ``wanted``, or the input's own.

        Raises:
            UserError: there is no such device.
        """
        sounddevice = self._sounddevice
        if not self.devices():
            raise UserError(
                "live audio: no audio device on this machine; connect one, and look at "
                "pse-kd live --list-devices"
            )
        with self._explained(pair):
            pair = _routed(pair)
            own = sounddevice.query_devices(pair.source, "input")["default_samplerate"]
            sounddevice.query_devices(pair.sink, "output")
        try:
            sounddevice.check_input_settings(pair.source, 1, samplerate=wanted)
            sounddevice.check_output_settings(pair.sink, 1, samplerate=wanted)
        except sounddevice.PortAudioError:
            return round(own)
        return wanted

    @contextmanager
    def open(
        self,
        pair: Pair,
        rate: int,
        block: int,
        callback: Callback,
        latency: float | None = None,
    ) -> Iterator[Running]:
        """Start a pair of devices; it runs until the context is left.

        Args:
            pair: which.
            rate: Hz, see `rate`.
            block: samples per call.
            callback: see `Callback`.
            latency: seconds to ask for; None: as few as it offers.

        Raises:
            UserError: it cannot be opened.
        """

        for device, number in zip(pair, self.identity(pair)):
            if isinstance(device, str) and device.startswith(PREFIX) and not number:
                raise UserError(
                    f"{device}: no such device; choose from: pse-kd live --list-devices"
                )

        bridge = Bridge(block, callback)
        source, sink = _routed(pair)
        common: dict[str, Any] = {"samplerate": rate, "blocksize": block}
        common |= {"channels": 1, "dtype": "float32"}
        make_input = self._sounddevice.InputStream
        make_output = self._sounddevice.OutputStream
        ends = (
            (make_input, source, bridge.hear, "low"),
            (make_output, sink, bridge.speak, _LEAST * block / rate),
        )
        with ExitStack() as opened:
            with self._explained(pair):
                for make, device, call, least in ends:
                    asked = least if latency is None else latency
                    stream = make(device=device, callback=call, latency=asked, **common)
                    opened.callback(stream.close)
                    bridge.streams.append(stream)
                for stream in bridge.streams:
                    stream.start()
            yield bridge

    @contextmanager
    def _explained(self, pair: Pair) -> Iterator[None]:
        try:
            yield
        except (self._sounddevice.PortAudioError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"--input {_shown(pair.source)} --output {_shown(pair.sink)}: cannot "
                f"be opened ({reason}); choose from: pse-kd live --list-devices"
            ) from None


def _routed(pair: Pair) -> Pair:
    """The pair as PortAudio knows it."""
    return Pair(route(pair.source, "PULSE_SOURCE"), route(pair.sink, "PULSE_SINK"))


def _shown(device: int | str | None) -> str:
    return "default" if device is None else repr(device)
