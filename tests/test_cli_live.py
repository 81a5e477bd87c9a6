"""``pse-kd live``: devices, keys, signals, and the recording that must survive."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, me, no_traces, pse_kd
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli import devices, live
from espnet_pse_kd.cli.devices import Callback, Device, Pair
from espnet_pse_kd.cli.keys import open_keys
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound.reading import open_sound

__all__ = ["me", "weights"]  # fixtures


@pytest.fixture
def nobody() -> Iterator[TextIO]:
    """A keyboard on which nobody types."""
    with open(os.devnull) as keyboard:
        yield keyboard


class FileDevices:
    """Stands in for `PortAudio`: a file as microphone, a list as loudspeaker."""

    heard: list[np.ndarray]

    def __init__(self, given: np.ndarray, lost: tuple[int, ...] = ()) -> None:
        self._given, self._lost = given, lost
        self.heard = []
        self.pairs: list[Pair] = []

    def devices(self) -> list[Device]:
        return [Device(0, "file", 1, 1, 16000, "in out")]

    def rate(self, pair: Pair, wanted: int) -> int:
        self.pairs.append(pair)
        return wanted

    def refresh(self) -> None: ...

    def identity(self, pair: Pair) -> tuple[str, str]:
        return "", ""

    @contextmanager
    def open(
        self,
        pair: Pair,
        rate: int,
        block: int,
        callback: Callback,
        latency: float | None,
    ) -> Iterator[argparse.Namespace]:
        for number, start in enumerate(range(0, len(self._given) - block, block)):
            wanted = np.full(block, np.nan, np.float32)
            given = self._given[start : start + block].copy()
            callback(given, wanted, number in self._lost)
            self.heard.append(wanted)
        yield argparse.Namespace(latency=(0.01, 0.02), active=False)


def test_live(
    weights: Path,
    me: Path,
    tmp_path: Path,
    nobody: TextIO,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = voice(4.0, seed=3)
    layer = FileDevices(given, lost=(3, 4))
    monkeypatch.setattr(live, "PortAudio", lambda: layer)
    record = tmp_path / "said.wav"
    monkeypatch.setattr(sys, "stdin", nobody)
    run = ("live", "--profile", me, "--input", "mic", "--output", 3, "--record", record)
    limits = ("--attenuation-limit", 20, "--seconds", 3.555)
    assert pse_kd(*run, *limits, model=weights) == 0
    shown = capsys.readouterr().err
    assert "latency: devices 30 ms + enhancement 20 ms = 50 ms" in shown
    assert "headphones" in shown and "2 dropped" in shown
    assert layer.pairs == [Pair("mic", 3)]

    heard = np.concatenate(layer.heard)
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    expected = enhancer(given, SAMPLE_RATE, Profile.load(me), 20.0)
    lag = enhancer.model.latency
    assert not heard[:lag].any()
    np.testing.assert_allclose(heard[lag:], expected[: len(heard) - lag], atol=1e-6)
    recorded, rate = soundfile.read(record)
    # To the sample as long as asked for, though the device went on for some blocks.
    assert rate == SAMPLE_RATE and len(recorded) == 3.555 * SAMPLE_RATE < len(heard)
    np.testing.assert_allclose(recorded, heard[: len(recorded)], atol=1e-4)
    assert pse_kd(*run, model=weights) == 2
    assert "exists; give --force" in error_of(capsys)


STOPPING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals that interrupt the test where the command does not handle them."""
    before = [signal.signal(n, signal.default_int_handler) for n in STOPPING]
    yield
    for number, handler in zip(STOPPING, before):
        signal.signal(number, handler)


@pytest.fixture
def record(
    weights: Path,
    me: Path,
    tmp_path: Path,
    nobody: TextIO,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], tuple[int, int]]:
    """Runs ``live --record said.wav`` on 4 s: status, and samples that were heard."""

    def run() -> tuple[int, int]:
        layer = FileDevices(voice(4.0, seed=3))
        monkeypatch.setattr(live, "PortAudio", lambda: layer)
        monkeypatch.setattr(sys, "stdin", nobody)
        words = ("live", "--profile", me, "--record", tmp_path / "said.wav")
        status = pse_kd(*words, model=weights)
        return status, sum(map(len, layer.heard))

    return run


@pytest.mark.parametrize("number", STOPPING)
def test_signals_do_not_cost_the_recording(
    number: signal.Signals,
    record: Callable[[], tuple[int, int]],
    handlers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first one stops, those that come while the rest is saved change nothing."""
    save = live.Session.drain
    came: list[int] = []

    def drain(session: live.Session, write: Callable[[np.ndarray], None]) -> None:
        came.append(number)
        os.kill(os.getpid(), number)
        save(session, write)

    monkeypatch.setattr(live.Session, "drain", drain)
    status, samples = record()
    assert status == 0 and len(came) == 2
    assert soundfile.info(tmp_path / "said.wav").frames == samples
    assert no_traces(tmp_path)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_full_disk_keeps_the_recording(
    record: Callable[[], tuple[int, int]], tmp_path: Path, capsys: Capture
) -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, unlimited[1]))
    try:
        status, _ = record()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert status == 2
    shown = capsys.readouterr().err.splitlines()
    path = tmp_path / "said.wav"
    assert f"warning: {path}: cut short; 1.6 s are kept" in shown
    assert shown[-1].startswith(f"error: {path}: cannot be written (no space left")
    with open_sound(path) as sound:
        assert 1.55 < sound.seconds < 1.57
    assert no_traces(tmp_path)


def test_what_nohup_ignores_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert pse_kd("--version") == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_keys_of_a_stdin_that_cannot_be_read() -> None:
    """As it is below ``nohup``."""
    with open(os.devnull, "w") as stream, open_keys(stream) as keys:
        assert keys.pressed(0.0) == ""
        start = time.monotonic()
        assert keys.pressed(0.05) == ""
        assert time.monotonic() - start > 0.04  # it is not asked any more


def test_no_keys_without_termios(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "termios", None)
    leader, follower = os.openpty()
    with open(leader, "wb") as person, open(follower) as terminal:
        person.write(b"q\n")
        person.flush()
        with open_keys(terminal) as keys:
            start = time.monotonic()
            assert keys.pressed(0.05) == ""
            assert time.monotonic() - start > 0.04
    assert "note: no keys on this system; Ctrl-C stops" in capsys.readouterr().err


def test_live_keys_and_meters(weights: Path, me: Path) -> None:
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    session = live.Session(enhancer.stream(Profile.load(me)), records=False)
    limits = []
    for key in "+--+0-?":
        assert not session.press(key)
        limits.append(session.stream.attenuation_limit_db)
    assert limits == [None, 57, 54, 57, None, 57, 57]
    assert not session.press("b") and session.stream.attenuation_limit_db == 0
    assert "limit BYPASS" in session.line()
    assert not session.press("-") and session.stream.attenuation_limit_db == 0
    assert not session.press("+b") and session.stream.attenuation_limit_db == 57
    assert session.press("q")
    assert live.next_limit(2.0, "-") == 0 and live.next_limit(58.0, "+") is None
    block = np.full(320, 0.1, np.float32)
    session.callback(block, np.empty_like(block), True)
    assert "in [" in session.line() and "-20 dBFS" in session.line()
    assert "limit 57 dB  dropped 1" in session.line()
    # What goes wrong in the audio thread reaches the person; the device gets silence.
    session.callback(np.zeros((2, 2)), block, False)
    assert isinstance(session.error, UserError) and not block.any()


def test_live_without_devices(
    weights: Path, me: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ("live", "--profile", me)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert pse_kd(*run, model=weights) == 2
    assert "pip install '.[live]'" in error_of(capsys)
    assert pse_kd("info", model=weights) == 0  # shows the reason instead
    assert "sounddevice is not installed" in capsys.readouterr().out

    silent = argparse.Namespace(
        default=argparse.Namespace(device=(-1, -1)), query_devices=lambda: []
    )
    monkeypatch.setitem(sys.modules, "sounddevice", silent)
    assert pse_kd(*run, model=weights) == 2
    assert "no audio device" in error_of(capsys)
    assert pse_kd("live", "--list-devices") == 0
    assert "no audio device" in capsys.readouterr().out


def test_device_list(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"max_input_channels": 2, "max_output_channels": 0}
    fake = argparse.Namespace(
        default=argparse.Namespace(device=(0, 1)),
        query_devices=lambda: [{"name": "Mic", "default_samplerate": 44100.0, **found}],
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    [device] = devices.PortAudio().devices()
    assert str(device) == "  0  Mic  (2 in, 0 out, 44100 Hz)  [default in]"
