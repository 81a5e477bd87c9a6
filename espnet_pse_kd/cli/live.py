"""``pse-kd live``: from microphone to output device with the streaming network."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from espnet_pse_kd.cli.devices import Pair, PortAudio, Running
from espnet_pse_kd.cli.keys import Keys, open_keys
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.signals import stopped_once
from espnet_pse_kd.cli.values import decibel
from espnet_pse_kd.cli.voice import (
    add_model_arguments,
    add_voice_arguments,
    load_enhancer,
    load_profile,
    voice_files,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import write_target
from espnet_pse_kd.runtime.stream import EnhancerStream
from espnet_pse_kd.sound.formats import Format
from espnet_pse_kd.sound.writing import write_sound

DESCRIPTION = (
    "Keep the enrolled voice in what the microphone hears, while you speak. To be "
    "heard in a call, let --output be a virtual cable and choose that as microphone "
    "in the call. Keys: + and - change the attenuation limit by 3 dB, 0 takes it off, "
    "q stops."
)

_BLOCK_SECONDS = 0.02
_REFRESH_SECONDS = 0.2
_STEP_DB = 3.0
_LARGEST_LIMIT_DB = 60.0  # beyond it nothing is heard: no limit
_METER_FLOOR_DB = -60.0
_METER_WIDTH = 15


class _ListDevices(argparse.Action):
    """Works as ``--version`` does: without the options that are required otherwise."""

    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> None:
        found = PortAudio().devices()
        print("\n".join(map(str, found)) or "no audio device on this machine")
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("--list-devices", action=_ListDevices, nargs=0, help="list them and stop")
    add_voice_arguments(parser)
    add("--input", type=device, metavar="DEVICE", help="number or name of the input")
    add("--output", type=device, metavar="DEVICE", help="the same of the output")
    add(
        "--attenuation-limit",
        type=decibel,
        metavar="DB",
        help="turn nothing down by more than this; default: no limit",
    )
    add("--record", type=Path, metavar="FILE", help="keep what comes out, as WAV")
    add("--force", action="store_true", help="replace the recorded FILE if it exists")
    add("--seconds", type=float, default=math.inf, help="stop after this time")
    add_model_arguments(parser)


def device(text: str) -> int | str:
    """Parse a device: its number, or a part of its name."""
    return int(text) if text.isdigit() else text


def run(args: argparse.Namespace) -> None:
    """Run the subcommand until ``q``, Ctrl-C or ``--seconds``.

    Raises:
        UserError: there is no device, or the recording cannot be written; what was
            recorded until then is kept.
    """
    if args.record is not None:
        write_target(args.record)
        refuse_inputs(args.record, identities(voice_files(args)), "--record")
        if args.record.exists() and not args.force:
            raise UserError(f"{args.record}: exists; give --force, or another --record")
    layer = PortAudio()
    pair = Pair(args.input, args.output)
    enhancer = load_enhancer(args)
    profile = load_profile(args, enhancer)
    rate = layer.rate(pair, enhancer.model.sample_rate)
    stream = enhancer.stream(profile, rate, args.attenuation_limit)
    session = Session(stream, args.record is not None)
    block = round(rate * _BLOCK_SECONDS)
    with (
        # What was recorded is kept, however, and however often, it is told to stop.
        stopped_once(),
        _recording(args.record, rate) as write,
        layer.open(pair, rate, block, session.callback) as running,
    ):
        print(_opening(running, stream), file=sys.stderr)
        try:
            with open_keys() as keys:
                watch(session, running, keys, write, time.monotonic() + args.seconds)
        except KeyboardInterrupt:
            pass
        session.drain(write)
    print(session.summary(), file=sys.stderr)
    if session.error is not None:
        raise session.error


class Session:
    """What the audio thread does, and what the main thread sees and changes of it.

    Args:
        stream: enhancer at the devices' rate.
        records: keep what comes out for `drain`.

    Attributes:
        stream: as given.
        blocks: calls so far.
        dropped: calls before which the system lost samples.
        levels: of the newest block in and out, in dBFS.
        error: what stopped it, or None.
    """

    def __init__(self, stream: EnhancerStream, records: bool) -> None:
        self.stream = stream
        self.blocks = self.dropped = 0
        self.levels = (-math.inf, -math.inf)
        self.error: Exception | None = None
        # As much silence ahead as the stream ever holds back: the output never waits.
        self._ready = np.zeros(stream.latency_samples, np.float32)
        self._recorded: SimpleQueue[np.ndarray] = SimpleQueue()
        self._records = records

    def callback(self, given: np.ndarray, wanted: np.ndarray, dropped: bool) -> None:
        """Enhance one block: reads ``given`` (n,), fills ``wanted`` (n,)."""
        wanted[:] = 0.0
        if self.error is not None:
            return
        self.blocks += 1
        self.dropped += dropped
        # PortAudio's thread has nobody to raise to.
        try:
            finished = self.stream.process(given)
        except Exception as error:
            self.error = error
            return
        ready = np.concatenate([self._ready, finished])
        np.clip(ready[: len(wanted)], -1.0, 1.0, out=wanted)
        self._ready = ready[len(wanted) :]
        self.levels = (level(given), level(wanted))
        if self._records:
            self._recorded.put(wanted.copy())

    def drain(self, write: Callable[[np.ndarray], None]) -> None:
        """Hand on what came out since the last call; the disk has time here."""
        while not self._recorded.empty():
            write(self._recorded.get()[:, None])

    def press(self, typed: str) -> bool:
        """Do what the keys ask for; returns whether to stop."""
        for key in typed:
            if key in "qQ":
                return True
            if key in "+-0":
                self.stream.attenuation_limit_db = next_limit(
                    self.stream.attenuation_limit_db, key
                )
        return False

    def line(self) -> str:
        """Meters, limit and dropped blocks, as one line."""
        given, wanted = map(meter, self.levels)
        limit = self.stream.attenuation_limit_db
        shown = "none" if limit is None else f"{limit:.0f} dB"
        return f"in {given}  out {wanted}  limit {shown}  dropped {self.dropped}  "

    def summary(self) -> str:
        """What was measured."""
        times = self.stream.timings()
        hop = 1e3 * self.stream.model.hop / self.stream.model.sample_rate
        return (
            f"{self.blocks} blocks, {self.dropped} dropped; the network took "
            f"{times.p50:.2f} ms (99 %: {times.p99:.2f} ms) per hop of {hop:.0f} ms"
        )


def watch(
    session: Session,
    running: Running,
    keys: Keys,
    write: Callable[[np.ndarray], None],
    end: float,
) -> None:
    """Show meters, obey keys and save the recording: until ``end``, ``q`` or an error.

    Args:
        session: what runs.
        running: the devices.
        keys: of the person.
        write: appends (n, 1) to the recording.
        end: `time.monotonic` at which to stop.
    """
    shown = sys.stderr.isatty()
    while time.monotonic() < end:
        typed = keys.pressed(min(_REFRESH_SECONDS, max(end - time.monotonic(), 0)))
        stop = session.press(typed)
        session.drain(write)
        if shown:
            print(f"\r{session.line()}", end="", file=sys.stderr, flush=True)
        if session.error is None and not running.active:
            session.error = UserError(
                "live audio: the device stopped; check that it is still connected"
            )
        if stop or session.error is not None:
            break
    if shown:
        print(file=sys.stderr)


def next_limit(limit: float | None, key: str) -> float | None:
    """The attenuation limit after a ``+``, ``-`` or ``0``; None is no limit."""
    if key == "0":
        return None
    if limit is None:
        return None if key == "+" else _LARGEST_LIMIT_DB - _STEP_DB
    limit = limit + _STEP_DB if key == "+" else max(limit - _STEP_DB, 0.0)
    return limit if limit < _LARGEST_LIMIT_DB else None


def level(block: np.ndarray) -> float:
    """Level of a block (n,) in dBFS."""
    with np.errstate(invalid="ignore"):  # a driver may deliver anything
        power = float(np.mean(np.square(block, dtype=np.float64))) if len(block) else 0
    return 10 * math.log10(power) if power > 0 else -math.inf


def meter(dbfs: float) -> str:
    """A level as a bar, in ASCII."""
    share = min(max(1 - dbfs / _METER_FLOOR_DB, 0.0), 1.0)
    bar = "#" * round(share * _METER_WIDTH)
    return f"[{bar:<{_METER_WIDTH}}] {max(dbfs, -99):4.0f} dBFS"


def _opening(running: Running, stream: EnhancerStream) -> str:
    device_ms, own_ms = 1e3 * sum(running.latency), 1e3 * stream.latency_seconds
    return (
        f"{stream.sample_rate} Hz; latency: devices {device_ms:.0f} ms + enhancement "
        f"{own_ms:.0f} ms = {device_ms + own_ms:.0f} ms\n"
        "warning: wear headphones, or send the output elsewhere: a loudspeaker in the "
        "microphone's room feeds back\n"
        "keys: + - attenuation limit, 0 none, q stops"
    )


@contextmanager
def _recording(path: Path | None, rate: int) -> Iterator[Callable[[np.ndarray], None]]:
    if path is None:
        yield lambda block: None
        return
    with write_sound(path, Format(rate, 1, "WAV", "PCM_16"), keep=True) as write:
        yield write
