"""Hours of sound through a stream, or through ``pse-kd live`` under PulseAudio.

``stream``: HOURS of one minute, repeated, as fast as the machine can, in blocks of odd
lengths. Every repetition must come out as the second did (drift), as many samples as
went in (dropped blocks), in the memory that the first hour took (growth).

``live``: ``pse-kd live --virtual-mic`` for HOURS of real time beside a sound server of
its own, with speech in the room. The recording must have every sample, the report count
every drop, the memory stay.

    python -m tools.soak stream --hours 24 --profile me.npz --speech talk.wav
    python -m tools.soak live --hours 1 --profile me.npz --speech talk.wav
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.runtime.stream import EnhancerStream

MINUTE = 60 * SAMPLE_RATE
BLOCKS = (1, 160, 441, 1024, 4096, 7, 320)
"""Lengths of the blocks, in samples, in turn."""
TOLERANCE = 1e-4
"""Difference of two equal minutes that is no drift."""


def memory_mb(pid: int | str = "self") -> float:
    """Resident memory of a process in MB (Linux)."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def a_minute_of(path: Path) -> np.ndarray:
    """A minute of a file's first channel, repeated where it is shorter.

    Returns:
        float32 (960000,)

    Raises:
        UserError: the file is not at 16 kHz, or empty.
    """
    speech, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE or not len(speech):
        raise UserError(f"{path}: {len(speech)} samples at {rate} Hz; give 16 kHz")
    return np.resize(speech[:, 0], MINUTE)


def soak_stream(stream: EnhancerStream, minute: np.ndarray, hours: float) -> None:
    """Run ``hours`` of repeated minutes through a stream; print a line per hour.

    Args:
        stream: a fresh one.
        minute: float32 (960000,)
        hours: of signal.

    Raises:
        UserError: samples are missing, or a minute came out unlike the second one.
    """
    minutes, begun = round(60 * hours), time.perf_counter()
    second = np.zeros(0, np.float32)
    heard, difference = 0, 0.0
    for number in range(1, minutes + 1):
        out = np.concatenate([stream.process(block) for block in _blocks(minute)])
        heard += len(out)
        # The first minute follows silence, all others follow the same minute.
        if number == 2:
            second = out
        elif number > 2:
            if len(out) != len(second):
                raise UserError(
                    f"minute {number}: {len(out)} samples, not {len(second)}"
                )
            difference = max(difference, float(np.abs(out - second).max()))
        if number % 60 == 0:
            spent = (time.perf_counter() - begun) / 60
            print(
                f"{number // 60:3d} h of signal in {spent:5.1f} min, "
                f"{memory_mb():6.1f} MB, largest difference {difference:.1e}",
                flush=True,
            )
    heard += len(stream.flush())
    if heard != minutes * MINUTE:
        raise UserError(f"{heard} samples came out, {minutes * MINUTE} went in")
    if difference > TOLERANCE:
        raise UserError(f"a minute came out unlike the second one, by {difference:.1e}")
    print(f"{heard} samples in and out, largest difference {difference:.1e}")


def _blocks(minute: np.ndarray) -> Iterator[np.ndarray]:
    at, turn = 0, 0
    while at < len(minute):
        length = BLOCKS[turn % len(BLOCKS)]
        yield minute[at : at + length]
        at, turn = at + length, turn + 1


@contextlib.contextmanager
def sound_server(folder: Path) -> Iterator[dict[str, str]]:
    """A PulseAudio of one's own with a room to be heard in; its environment."""
    socket = folder / "socket"
    own = {"XDG_RUNTIME_DIR": str(folder), "PULSE_RUNTIME_PATH": str(folder)}
    environment = {**os.environ, **own, "PULSE_SERVER": f"unix:{socket}"}
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1"]
    command += ["--use-pid-file=no", "-L", "module-null-sink sink_name=room", "-L"]
    command += [f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
    with subprocess.Popen(command, env=environment) as daemon:
        try:
            while not socket.exists():
                if daemon.poll() is not None:
                    raise UserError("pulseaudio: it ended at once; see above")
                time.sleep(0.05)
            yield environment
        finally:
            daemon.terminate()


def soak_live(profile: Path, minute: np.ndarray, hours: float) -> None:
    """Run ``pse-kd live`` in real time; print its memory by the minute and its report.

    Raises:
        UserError: it ended early or with an error, or its recording lacks samples.
    """
    seconds = round(3600 * hours)
    with tempfile.TemporaryDirectory() as name, sound_server(Path(name)) as environment:
        spoken, record = Path(name) / "speech.wav", Path(name) / "record.wav"
        soundfile.write(spoken, minute, SAMPLE_RATE)
        words = f"live --virtual-mic --input pulse:room.monitor --seconds {seconds}"
        command = [sys.executable, "-m", "espnet_pse_kd.cli.main", *words.split()]
        command += ["--record", str(record), "--profile", str(profile)]
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL
        ) as program:
            _talk(program, spoken, environment)
        found = soundfile.info(record).frames if record.exists() else 0
    if program.returncode or found != seconds * SAMPLE_RATE:
        raise UserError(
            f"pse-kd live: status {program.returncode}, {found} samples of "
            f"{seconds * SAMPLE_RATE}"
        )
    print(f"{found} samples of {seconds * SAMPLE_RATE}")


def _talk(
    program: subprocess.Popen[bytes], spoken: Path, environment: dict[str, str]
) -> None:
    """Let a minute of speech sound in the room until the program ends."""
    minutes = 0
    while program.poll() is None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            print(f"{minutes:3d} min, {memory_mb(program.pid):6.1f} MB", flush=True)
        play = ["paplay", "--device=room", str(spoken)]
        subprocess.run(play, env=environment, check=False)
        minutes += 1


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("stream", "live"))
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True, help="16 kHz")
    return parser


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    minute = a_minute_of(args.speech)
    if args.kind == "live":
        soak_live(args.profile, minute, args.hours)
    else:
        stream = PersonalizedEnhancer.from_pretrained().stream(
            Profile.load(args.profile)
        )
        soak_stream(stream, minute, args.hours)


if __name__ == "__main__":
    main()
