"""Run a training, show how far it is, and keep a record of it."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.utils.lock import exclusive

_POLL_SECONDS = 0.5
_SECONDS_BETWEEN_LINES = 15.0
_STARTED = re.compile(r"(\d+)/(\d+)epoch started")
_BATCHES = re.compile(r"(\d+)epoch:train:\d+-(\d+)batch:")
_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_VALUE = re.compile(r"\b(loss|acc|si_sdri)=([-+.\de]+)")


class TrainingProgress:
    """Turns the lines of ESPnet's training log into lines with the time left.

    Args:
        label: what the lines begin with.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._start: float | None = None
        self._skipped = 0.0  # epochs that an earlier run did
        self._epoch = self._max_epoch = self._batch = self._batches = 0
        self._last = float("-inf")

    def feed(self, line: str, now: float) -> str | None:
        """Take one line of the log; return a line to show, if it is time for one.

        Args:
            line: of the log.
            now: seconds on any clock.
        """
        if found := _STARTED.search(line):
            self._epoch, self._max_epoch = map(int, found.groups())
            self._batch = 0
            if self._start is None:
                self._start, self._skipped = now, self._epoch - 1
            return None
        if found := _BATCHES.search(line):
            self._batch = int(found[2])
            self._batches = max(self._batches, self._batch)
            if now - self._last < _SECONDS_BETWEEN_LINES:
                return None
            return self._line(now, f"batch {self._batch}")
        if found := _RESULTS.search(line):
            self._epoch, self._batch = int(found[1]) + 1, 0
            return self._line(now, _summary(found[2]), ended=int(found[1]))
        return None

    def _line(self, now: float, text: str, ended: int | None = None) -> str:
        self._last = now
        done = self._epoch - 1.0
        # Until one epoch has ended, nobody knows how many batches an epoch has.
        if self._batch and self._epoch - 1 > self._skipped:
            done += self._batch / max(self._batches, self._batch)
        elapsed = now - (self._start if self._start is not None else now)
        fresh = done - self._skipped
        left = "time left known after the first epoch"
        if fresh > 0:
            left = f"{elapsed / fresh * (self._max_epoch - done):.0f} s left"
        epoch = ended or self._epoch
        return (
            f"{self.label}: epoch {epoch}/{self._max_epoch}, {text}, "
            f"{elapsed:.0f} s, {left}"
        )


def _summary(results: str) -> str:
    """``train loss=.., valid loss=.. acc=..`` from ESPnet's line of results."""
    parts = []
    for name in ("train", "valid"):
        _, found, rest = results.partition(f"[{name}]")
        values = _VALUE.findall(rest.partition("[")[0]) if found else []
        if values:
            parts.append(f"{name} " + " ".join(f"{k}={v}" for k, v in values))
    return ", ".join(parts)


def run(exp: Path, log: Path, command: Sequence[str], record: dict[str, Any]) -> int:
    """Run a training whose output goes to ``log``, and write ``exp/run.json``.

    The lock is inherited by the command: where only this process was killed, a second
    call refuses to train into the same folder as long as the first training lives.

    Args:
        exp: folder of the training.
        log: file that the command (one of ``cmd.sh``) appends its output to.
        command: program and arguments.
        record: what else ``run.json`` is to say, such as the seed.

    Returns:
        exit status of the command.

    Raises:
        UserError: another training writes into ``exp``.
    """
    offset = log.stat().st_size if log.exists() else 0
    with exclusive(exp, "training") as lock:
        before = _previous(exp)
        start = time.monotonic()
        started = _now()
        process = subprocess.Popen(
            list(command),
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # it goes to the log
        )
        code = _follow(process, log, offset, exp.name)
        with atomic_open(exp / "run.json") as file:
            result = {
                **record,
                "command": list(command),
                "started": before.get("started", started),
                "ended": _now(),
                "wall_seconds": round(
                    before.get("wall_seconds", 0) + time.monotonic() - start, 1
                ),
                "runs": before.get("runs", 0) + 1,
                "finished": code == 0,
            }
            json.dump(result, file, indent=1)
    return code


def _previous(exp: Path) -> dict[str, Any]:
    record = exp / "run.json"
    return json.loads(record.read_text()) if record.is_file() else {}


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _follow(process: subprocess.Popen, log: Path, offset: int, label: str) -> int:
    """Show the log's progress until the process ends; its exit status."""
    shown = TrainingProgress(label)
    stream: IO[str] | None = None
    try:
        while True:
            ended = process.poll() is not None
            if stream is None and log.exists():
                stream = open(log, encoding="utf-8", errors="replace")  # noqa: SIM115
                stream.seek(offset)
            for line in stream or ():
                if text := shown.feed(line, time.monotonic()):
                    print(text, file=sys.stderr, flush=True)
            if ended:
                break
            time.sleep(_POLL_SECONDS)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        if stream is not None:
            stream.close()
    if process.returncode:
        print(_why(log, offset), file=sys.stderr)
    return process.returncode


def _why(log: Path, offset: int) -> str:
    """What to show of a log whose command failed: its error line, or its end."""
    if not log.exists():
        return f"error: {log}: the command failed before it wrote a log"
    with open(log, encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        lines = [line.rstrip() for line in file if not line.startswith("# ")]
    errors = [line for line in lines if "error: " in line]
    if errors:
        return errors[-1][errors[-1].index("error: ") :] + f" (log: {log})"
    return "\n".join(lines[-15:]) + f"\nerror: {log}: the command failed, see above"
