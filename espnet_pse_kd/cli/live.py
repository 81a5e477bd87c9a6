"""``pse-kd live``: from microphone to output device with the streaming network."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from espnet_pse_kd.cli.devices import Pair, PortAudio, Running
from espnet_pse_kd.cli.keys import Keys, open_keys
from espnet_pse_kd.cli.link import Link
from espnet_pse_kd.cli.paths import identities, refuse_inputs
from espnet_pse_kd.cli.pulse import SHOWN, virtual_microphone
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
    "heard in a call, give --virtual-mic (Linux) or let --output be a virtual cable, "
    "and choose that as microphone in the call. A device that stops is opened again. "
    "Keys: + and - change the attenuation limit by 3 dB, 0 takes it off, b switches "
    "the enhancement off and on, q stops."
)

_BLOCK_SECONDS = 0.02
_REFRESH_SECONDS = 0.2
_STEP_DB = 3.0
_LARGEST_LIMIT_DB = 60.0  # beyond it nothing is heard: no limit
_METER_FLOOR_DB = -60.0
_METER_WIDTH = 15

_now: Callable[[], float] = time.monotonic


class _ListDevices(argparse.Action):
    """Works as ``--version`` does: without the options that are required otherwise."""

    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> None:
        print("\n".join(PortAudio().listing()) or "no audio device on this machine")
        parser.exit()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    add("--list-devices", action=_ListDevices, nargs=0, help="list them and stop")
    add_voice_arguments(parser)
    add(
        "--input",
        type=device,
        metavar="DEVICE",
        help="number or name of the input; pulse:NAME is a source of PulseAudio or "
        "PipeWire",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--output", type=device, metavar="DEVICE", help="the same of the output"
    )
    where.add_argument(
        "--virtual-mic",
        action="store_true",
        help=f'make a microphone called "{SHOWN}" for calls, and remove it in the end '
        "(Linux with PulseAudio or PipeWire)",
    )
    add(
        "--attenuation-limit",
        type=decibel,
        metavar="DB",
        help="turn nothing down by more than this; default: no limit",
    )
    add("--record", type=Path, metavar="FILE", help="keep what comes out, as WAV")
    add("--force", action="store_true", help="replace the recorded FILE if it exists")
    add(
        "--seconds",
        type=duration,
        default=math.inf,
        help="stop after this time, counted from the first sound",
    )
    add_model_arguments(parser)


def device(text: str) -> int | str:
    """Parse a device: its number, or a part of its name."""
    return int(text) if text.isdigit() else text


def duration(text: str) -> float:
    """Parse a time; the type of ``--seconds``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r:.60}; give seconds, more than 0")
    return value


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
    enhancer = load_enhancer(args)
    profile = load_profile(args, enhancer)
    with (
        # What was recorded is kept, however, and however often, it is told to stop.
        stopped_once(),
        ExitStack() as virtual,
    ):
        sink = args.output
        if args.virtual_mic:
            sink = virtual.enter_context(virtual_microphone())
            print(f'choose "{SHOWN}" as microphone in the call', file=sys.stderr)
        pair = Pair(args.input, sink)
        rate = layer.rate(pair, enhancer.model.sample_rate)
        stream = enhancer.stream(profile, rate, args.attenuation_limit)
        warm_up(enhancer.stream(profile, rate))
        session = Session(stream, args.record is not None, args.seconds)
        link = Link(layer, pair, rate, round(rate * _BLOCK_SECONDS), session)
        _work(args.record, session, link)
    if session.error is not None:
        raise session.error


def _work(record: Path | None, session: Session, link: Link) -> None:
    """Run until it is told to stop, and say what was measured."""
    with _recording(record, session.stream.sample_rate) as write, link:
        assert link.running is not None
        print(_opening(link.running, session.stream), file=sys.stderr)
        try:
            with open_keys() as keys:
                watch(session, link, keys, write)
        except KeyboardInterrupt:
            pass
        session.drain(write)
    print(session.summary(link.reopened), file=sys.stderr)


def warm_up(stream: EnhancerStream) -> None:
    """Let the network make its first steps, which are slow, before there is sound."""
    stream.process(np.zeros(stream.sample_rate // 5, np.float32))


class Session:
    """What the audio thread does, and what the main thread sees and changes of it.

    Args:
        stream: enhancer at the devices' rate.
        records: keep what comes out for `drain`.
        seconds: after which it is complete, from the first sound on.

    Attributes:
        stream: as given.
        blocks: calls so far.
        dropped: calls before which the system lost samples.
        samples: that have passed since the first sound, with those that were lost.
        lost: samples while the devices were away; a recording has silence there.
        bypassed: whether the enhancement is switched off.
        levels: of the newest block in and out, in dBFS.
        heard_at: see `link.Listener`.
        error: what stopped it, or None.
    """

    def __init__(
        self, stream: EnhancerStream, records: bool, seconds: float = math.inf
    ) -> None:
        self.stream = stream
        self.blocks = self.dropped = self.samples = self.lost = 0
        self.levels = (-math.inf, -math.inf)
        self.heard_at = _now()
        self.error: Exception | None = None
        self.bypassed = False
        self._limit = stream.attenuation_limit_db
        self._end = seconds * stream.sample_rate
        # As much silence ahead as the stream ever holds back: the output never waits.
        self._ready = np.zeros(stream.latency_samples, np.float32)
        self._recorded: SimpleQueue[np.ndarray] = SimpleQueue()
        self._records = records

    @property
    def left(self) -> float:
        """Seconds until it is complete."""
        return (self._end - self.samples) / self.stream.sample_rate

    def callback(self, given: np.ndarray, wanted: np.ndarray, dropped: bool) -> None:
        """Enhance one block: reads ``given`` (n,), fills ``wanted`` (n,)."""
        wanted[:] = 0.0
        if self.error is not None:
            return
        self.blocks += 1
        self.dropped += dropped
        self.heard_at = _now()
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
        self._keep(wanted)

    def idle(self, now: float) -> None:
        """Time until ``now`` has passed while the devices are away."""
        missed = max(round((now - self.heard_at) * self.stream.sample_rate), 0)
        self.heard_at = now
        if self.blocks:  # before the first sound nothing is lost
            self.lost += missed
            self._keep(np.zeros(missed, np.float32))

    def _keep(self, block: np.ndarray) -> None:
        """Count what came out, and record it, up to the end and no further."""
        if self._records:
            kept = min(len(block), max(self._end - self.samples, 0))
            self._recorded.put(block[: math.ceil(kept)].copy())
        self.samples += len(block)

    def drain(self, write: Callable[[np.ndarray], None]) -> None:
        """Hand on what came out since the last call; the disk has time here."""
        while not self._recorded.empty():
            write(self._recorded.get()[:, None])

    def press(self, typed: str) -> bool:
        """Do what the keys ask for; returns whether to stop."""
        for key in typed:
            if key in "qQ":
                return True
            if key in "bB":
                self.bypassed = not self.bypassed
            if key in "+-0":
                self._limit = next_limit(self._limit, key)
            # A limit of 0 dB passes the input, as late as the rest: nothing jumps.
            self.stream.attenuation_limit_db = 0.0 if self.bypassed else self._limit
        return False

    def line(self) -> str:
        """Meters, limit and dropped blocks, as one line."""
        given, wanted = map(meter, self.levels)
        shown = "none" if self._limit is None else f"{self._limit:.0f} dB"
        shown = "BYPASS" if self.bypassed else shown
        return f"in {given}  out {wanted}  limit {shown}  dropped {self.dropped}  "

    def summary(self, reopened: int) -> str:
        """What was measured."""
        times = self.stream.timings()
        hop = 1e3 * self.stream.model.hop / self.stream.model.sample_rate
        return (
            f"{self.blocks} blocks, {self.dropped} dropped; devices opened again "
            f"{reopened} times, {self.lost / self.stream.sample_rate:.1f} s without "
            "them; the network took "
            f"{times.p50:.2f} ms (99 %: {times.p99:.2f} ms) per hop of {hop:.0f} ms"
        )


def watch(
    session: Session, link: Link, keys: Keys, write: Callable[[np.ndarray], None]
) -> None:
    """Show meters, obey keys, save the recording and keep the devices running.

    Ends with the session, at a ``q`` or an error.

    Args:
        session: what runs.
        link: the devices.
        keys: of the person.
        write: appends (n, 1) to the recording.
    """
    shown = sys.stderr.isatty()
    while session.left > 0:
        stop = session.press(keys.pressed(min(_REFRESH_SECONDS, session.left)))
        session.drain(write)
        if stop or session.error is not None:
            break
        if news := link.tend():
            print(f"{'\n' if shown else ''}note: {news}", file=sys.stderr)
        if shown:
            print(f"\r{session.line()}", end="", file=sys.stderr, flush=True)
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
        "keys: + - attenuation limit, 0 none, b bypass, q stops"
    )


@contextmanager
def _recording(path: Path | None, rate: int) -> Iterator[Callable[[np.ndarray], None]]:
    if path is None:
        yield lambda block: None
        return
    with write_sound(path, Format(rate, 1, "WAV", "PCM_16"), keep=True) as write:
        yield write
