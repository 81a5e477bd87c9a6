"""What can be asked for a measurement: worker processes, and commands that start."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.environments import Unavailable, reason, worker_environment
from benchmarks.networks import ROOT
from benchmarks.worker import ANSWERS

_TIME_IMPORT = (
    "import time; start = time.perf_counter(); import espnet_pse_kd; "
    "print(time.perf_counter() - start)"
)


class Subject(Protocol):
    """What a row measures."""

    def ask(self, seconds: float) -> dict[str, Any]:
        """Measure once, with so many seconds of audio: see `worker.Measured`.

        Raises:
            Unavailable: it failed.
        """
        ...

    def facts(self) -> dict[str, Any]:
        """What it says of itself.

        Raises:
            Unavailable: it failed.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...


class Worker:
    """A process that runs a module of ours which calls `worker.serve`.

    Args:
        python: interpreter of the environment.
        command: module and its arguments.

    Raises:
        Unavailable: it ends before it can be asked.
    """

    def __init__(self, python: str, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [python, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[writing],
            cwd=ROOT,
            env={**worker_environment(), ANSWERS: str(writing)},
            text=True,
            encoding="utf-8",
        )
        os.close(writing)
        self._answers = open(reading, encoding="utf-8")  # noqa: SIM115
        self._ready = self._read()

    def ask(self, seconds: float) -> dict[str, Any]:
        return self._request({"seconds": seconds})

    def facts(self) -> dict[str, Any]:
        return self._request({})

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._answers, self._log):
            assert file is not None
            file.close()

    def _request(self, content: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        # Where it has ended, the end of its output tells why.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            raise Unavailable(reason(self._log.read()))
        return json.loads(line)


class PeerAudio(Worker):
    """A process that enhances signals: a module that calls `worker.serve_signals`.

    Attributes:
        rate: Hz of its signals.
    """

    def __init__(self, python: str, command: Sequence[str]) -> None:
        super().__init__(python, command)
        self.rate = int(self._ready["rate"])
        self._folder = tempfile.TemporaryDirectory()

    def enhance(self, samples: np.ndarray) -> np.ndarray:
        """Enhance float32 (N,) from a fresh state.

        Raises:
            Unavailable: it failed.
        """
        path = Path(self._folder.name) / "signal.npy"
        np.save(path, samples)
        self._request({"path": str(path)})
        return np.load(path)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


class Start:
    """A command that is started anew for each measurement: seconds until it ends.

    Args:
        command: of our own environment.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = [sys.executable, *command]

    def ask(self, seconds: float) -> dict[str, Any]:
        start = time.perf_counter()
        self._run()
        return {"calls": [time.perf_counter() - start]}

    def facts(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        """Nothing is left running."""

    def _run(self) -> str:
        result = subprocess.run(
            self._command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=worker_environment(),
        )
        if result.returncode:
            raise Unavailable(reason(result.stderr))
        return result.stdout


class Import(Start):
    """Seconds of ``import espnet_pse_kd``, without those of Python's own start."""

    def __init__(self) -> None:
        super().__init__(["-c", _TIME_IMPORT])

    def ask(self, seconds: float) -> dict[str, Any]:
        return {"calls": [float(self._run())]}
