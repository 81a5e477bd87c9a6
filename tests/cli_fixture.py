"""The command ``pse-kd`` run in tests, and what its tests write and read."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from weights_fixture import voice, weights

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.main import main

__all__ = ["weights"]  # fixtures

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="session")
def me(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile of a voice."""
    folder = tmp_path_factory.mktemp("me")
    soundfile.write(folder / "me.wav", voice(12.0), SAMPLE_RATE)
    pse_kd("enroll", folder / "me.wav", "-o", folder / "me.profile", model=weights)
    return folder / "me.profile"


def pse_kd(*words: object, model: Path | None = None) -> int:
    """Run the command in this process; returns its exit status."""
    argv = [str(word) for word in words]
    try:
        main([*argv, "--model", str(model)] if model else argv)
    except SystemExit as exit:
        return int(exit.code or 0)
    return 0


def error_of(capture: Capture) -> str:
    """The last line of standard error; anything like a traceback fails."""
    lines = capture.readouterr().err.splitlines()
    assert not [line for line in lines if "Traceback" in line]
    assert lines and lines[-1].startswith("error: "), lines
    return lines[-1].removeprefix("error: ")


def write(path: Path, rate: int = SAMPLE_RATE, channels: int = 1, **form: str) -> Path:
    """Three seconds of a voice, a little different in each channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.repeat(voice(3.0, seed=1), max(1, rate // SAMPLE_RATE))
    gains = 1 - 0.05 * np.arange(channels)
    soundfile.write(path, wave[:, None] * gains, rate, **form)
    return path


def no_traces(folder: Path) -> bool:
    """Whether a folder holds no temporary file."""
    return not list(folder.rglob(".*.tmp"))


def start(*words: object, disk: int | None = None) -> subprocess.Popen[str]:
    """Start the command; ``disk``: bytes that a file may have."""

    def limit() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))

    return subprocess.Popen(
        [sys.executable, "-m", "espnet_pse_kd.cli.main", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
    )


def header(offset: int, value: bytes, **form: str) -> Callable[[Path], None]:
    """A good file, but for some bytes."""

    def make(path: Path) -> None:
        content = bytearray(write(path, **form).read_bytes())
        content[offset : offset + len(value)] = value
        path.write_bytes(content)

    return make
