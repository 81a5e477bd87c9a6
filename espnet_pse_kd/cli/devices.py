"""Audio devices through PortAudio: the only module that knows of ``sounddevice``.

`live` works with anything that has the interface of `PortAudio`; the tests put files in
its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol

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
    """A running pair.

    Attributes:
        latency: seconds that input and output take with their drivers.
        active: False once it has stopped by itself.
    """

    latency: tuple[float, float]
    active: bool


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

        def relay(given, wanted, frames, time, status) -> None:
            dropped = status.input_overflow or status.output_underflow
            callback(given[:, 0], wanted[:, 0], bool(dropped))

        with self._explained(pair):
            stream = self._sounddevice.Stream(
                rate,
                block,
                tuple(_routed(pair)),
                1,
                "float32",
                latency="low" if latency is None else latency,
                callback=relay,
            )
            stream.start()
        try:
            yield stream
        finally:
            stream.close()

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
