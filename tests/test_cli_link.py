"""Devices that stop, lose sound and come back, and the virtual microphone."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, me, pse_kd
from weights_fixture import weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.cli import link, live, pulse
from espnet_pse_kd.cli.devices import Callback, Pair
from espnet_pse_kd.cli.link import Link
from espnet_pse_kd.cli.main import parse
from espnet_pse_kd.errors import UserError
from tools.soak import sound_server

__all__ = ["me", "weights"]  # fixtures
BLOCK, RATE = 320, 16000


class Unsteady:
    """Devices that are there at times; the test is the clock and the driver."""

    def __init__(self) -> None:
        self.there, self.now = True, 100.0
        self.latencies: list[float | None] = []
        self.refreshed, self.number = 0, "3"
        self.state = argparse.Namespace(latency=(0.01, 0.01), active=True)

    def refresh(self) -> None:
        self.refreshed += 1

    def identity(self, pair: Pair) -> tuple[str, str]:
        return self.number, ""

    @contextmanager
    def open(
        self,
        pair: Pair,
        rate: int,
        block: int,
        callback: Callback,
        latency: float | None,
    ) -> Iterator[argparse.Namespace]:
        if not self.there:
            raise UserError("--input 'mic': cannot be opened")
        self.latencies.append(latency)
        self.state.active = True
        self.callback = callback
        yield self.state

    def play(self, blocks: int, dropped: bool = False) -> None:
        for _ in range(blocks):
            self.now += BLOCK / RATE
            given = np.ones(BLOCK, np.float32) / 10
            self.callback(given, np.empty(BLOCK, np.float32), dropped)


@pytest.fixture
def layer(monkeypatch: pytest.MonkeyPatch) -> Unsteady:
    layer = Unsteady()
    monkeypatch.setattr(link, "_now", lambda: layer.now)
    monkeypatch.setattr(live, "_now", lambda: layer.now)
    return layer


@pytest.fixture
def session(weights: Path, me: Path, layer: Unsteady) -> live.Session:
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    return live.Session(enhancer.stream(Profile.load(me)), True, 20.0)


@pytest.fixture
def opened(layer: Unsteady, session: live.Session) -> Iterator[Link]:
    with Link(layer, Pair(None, None), RATE, BLOCK, session) as opened:
        yield opened


def test_device_that_is_taken_away_and_given_back(
    layer: Unsteady, session: live.Session, opened: Link
) -> None:
    """It is said once, and the recording has silence in between, as long as that."""
    layer.play(50)
    assert opened.tend() == ""
    layer.state.active = layer.there = False
    assert "the device stopped" in opened.tend()
    said = []
    for _ in range(40):  # 8 s
        layer.now += 0.2
        said.append(opened.tend())
    assert "cannot be opened; trying until it is back" in said[0]
    assert not any(said[1:]) and opened.running is None
    assert 0 < layer.refreshed < 8  # the tries become rare
    layer.there = True
    while not (back := opened.tend()):
        layer.now += 0.2
    assert "the device is back after" in back and opened.reopened == 1
    away = layer.now - 101.0
    layer.play(50)
    assert session.lost == pytest.approx(away * RATE, abs=2)
    assert session.samples == pytest.approx((2 + away) * RATE, abs=2)
    kept: list[np.ndarray] = []
    session.drain(kept.append)
    recorded = np.concatenate(kept)[:, 0]
    assert len(recorded) == session.samples
    assert not recorded[RATE : RATE + session.lost].any()
    assert recorded[-100:].any()
    assert f"opened again 1 times, {away:.1f} s without" in session.summary(1)


def test_time_goes_on_while_the_device_is_away(
    layer: Unsteady, session: live.Session, opened: Link
) -> None:
    layer.play(50)
    layer.state.active = layer.there = False
    for _ in range(100):
        layer.now += 0.2
        opened.tend()
    assert session.left <= 0
    kept: list[np.ndarray] = []
    session.drain(kept.append)
    assert sum(map(len, kept)) == 20 * RATE


def test_device_that_stalls_is_opened_with_more_latency(
    layer: Unsteady, session: live.Session, opened: Link
) -> None:
    layer.now += 4.0  # the first block may come late
    assert opened.tend() == "" and session.samples == 0
    layer.play(10)
    layer.now += 1.9
    assert opened.tend() == ""
    layer.now += 0.2
    assert "stopped" in opened.tend()
    layer.now += 0.3
    assert "back" in opened.tend()
    assert layer.latencies == [None, 0.1]


def test_sound_of_another_device_is_not_taken(layer: Unsteady, opened: Link) -> None:
    """A sound server moves who listened to what is gone to any other device."""
    layer.play(150)
    assert opened.tend() == ""
    layer.number = ""
    layer.play(150)
    assert "taken away" in opened.tend()
    layer.number, layer.now = "4", layer.now + 0.3
    assert "back" in opened.tend()
    layer.play(150)
    assert opened.tend() == "" and layer.latencies == [None, None]


def test_lost_sound_gets_more_latency(layer: Unsteady, opened: Link) -> None:
    layer.play(9, dropped=True)
    assert opened.tend() == ""
    layer.play(200)
    assert opened.tend() == ""
    layer.play(9, dropped=True)  # too few in that time
    assert opened.tend() == ""
    for level in (0.1, 0.2, 0.4):
        layer.play(10, dropped=True)
        assert "trying with more latency" in opened.tend()
        layer.now += 0.3
        assert "back" in opened.tend() and layer.latencies[-1] == level
    layer.play(50, dropped=True)
    assert opened.tend() == ""  # there is no more


PACTL = """#!/bin/sh
echo "$@" >> {log}
case "$1 $3" in
"list modules") printf '1\\tmodule-x\\t\\n7\\tmodule-null-sink\\t{there}\\n';;
"list sources") printf '0\\tmic\\tx\\n';;
"list sinks") printf '0\\tspeaker\\tx\\n';;
esac
case "$1 $2" in
"load-module module-null-sink") echo 20;;
"load-module module-remap-source") {second};;
esac
"""


@pytest.fixture
def pactl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sound server that writes what it is asked into the file that this is."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    write_pactl(tmp_path)
    return tmp_path / "log"


def write_pactl(folder: Path, there: str = "", second: str = "echo 21") -> None:
    text = PACTL.format(log=folder / "log", there=there, second=second)
    (folder / "pactl").write_text(text)
    (folder / "pactl").chmod(0o755)


def test_virtual_microphone_is_made_and_removed(pactl: Path) -> None:
    with pytest.raises(ZeroDivisionError), pulse.virtual_microphone() as sink:
        assert sink == "pulse:pse_kd"
        lines = pactl.read_text().splitlines()
        assert "module-null-sink sink_name=pse_kd " in lines[1]
        assert "module-remap-source master=pse_kd.monitor" in lines[2]
        raise ZeroDivisionError
    assert pactl.read_text().splitlines()[3:] == [
        "unload-module 21",
        "unload-module 20",
    ]


def test_half_a_virtual_microphone_is_removed(pactl: Path) -> None:
    write_pactl(pactl.parent, second="echo Failure: No such entity >&2; exit 1")
    with pytest.raises(UserError, match="Failure: No such entity; start PulseAudio"):
        pulse.virtual_microphone().__enter__()
    assert pactl.read_text().splitlines()[-1] == "unload-module 20"


def test_virtual_microphone_of_another_run(pactl: Path) -> None:
    """What a killed run left is removed; what runs keeps it."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    write_pactl(pactl.parent, there=f"pse_kd.pid={ended.pid}")
    with pulse.virtual_microphone():
        assert "unload-module 7" in pactl.read_text().splitlines()
    write_pactl(pactl.parent, there=f"pse_kd.pid={os.getppid()}")
    with pytest.raises(UserError, match=f"process {os.getppid()} has it"):
        pulse.virtual_microphone().__enter__()


def test_virtual_microphone_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="run: apt install pulseaudio-utils"):
        pulse.virtual_microphone().__enter__()
    assert pulse.sources_and_sinks() == ([], [])
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="install BlackHole"):
        pulse.virtual_microphone().__enter__()


def test_single_devices_of_a_sound_server(
    pactl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pulse.sources_and_sinks() == (["mic"], ["speaker"])
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    assert pulse.identity("pulse:mic", "sources") == "0"
    assert pulse.identity("pulse:gone", "sources") == ""
    assert pulse.identity("mic", "sources") == ""
    assert pulse.route("mic", "PULSE_SOURCE") == "mic"
    assert pulse.route(None, "PULSE_SOURCE") is None
    assert "PULSE_SOURCE" not in os.environ
    assert pulse.route("pulse:mic", "PULSE_SOURCE") == "pulse"
    assert os.environ["PULSE_SOURCE"] == "mic"


def test_words_that_contradict(capsys: Capture) -> None:
    assert pse_kd("live", "--virtual-mic", "--output", "3") == 2
    assert "not allowed with" in error_of(capsys)
    for seconds in ("0", "nan", "-1", "x"):
        assert pse_kd("live", f"--seconds={seconds}") == 2
        assert "give seconds, more than 0" in error_of(capsys)
    assert parse(["live", "--seconds", "1.5"]).seconds == 1.5


# --- with PulseAudio itself ----------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sound server of one's own, with a room in which one can be heard."""
    if not (shutil.which("pulseaudio") and shutil.which("pactl")):
        pytest.skip("needs pulseaudio and pulseaudio-utils")
    pytest.importorskip("sounddevice")
    monkeypatch.setenv("HOME", str(tmp_path))
    with sound_server(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


ROOM = "module-null-sink sink_name=room"


def asked(*words: str) -> str:
    return subprocess.check_output(["pactl", *words], text=True).strip()


def start_live(record: Path, me: Path, weights: Path, seconds: float) -> list[str]:
    words = f"live --virtual-mic --input pulse:room.monitor --seconds {seconds}"
    named = ["--record", record, "--profile", me, "--model", weights]
    command = [sys.executable, "-m", "espnet_pse_kd.cli.main", *words.split()]
    return [*command, *map(str, named)]


@pytest.mark.dev
@pytest.mark.parametrize("number", range(10))
def test_ten_starts(
    number: int, server: None, weights: Path, me: Path, tmp_path: Path
) -> None:
    record = tmp_path / "said.wav"
    command = start_live(record, me, weights, 2)
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=60)
    assert soundfile.info(record).frames == 2 * 16000
    assert "pse_kd" not in asked("list", "short", "modules")


@pytest.mark.dev
def test_microphone_taken_away_and_given_back(
    server: None, weights: Path, me: Path, tmp_path: Path
) -> None:
    record = tmp_path / "said.wav"
    run = subprocess.Popen(
        start_live(record, me, weights, 15),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "pse_kd_mic" not in asked("list", "short", "sources"):
        time.sleep(0.1)
    time.sleep(6)
    room = next(
        line.split("\t")[0]
        for line in asked("list", "short", "modules").splitlines()
        if "sink_name=room" in line
    )
    asked("unload-module", room)
    time.sleep(3)
    asked("load-module", *ROOM.split())
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert "the device was taken away" in said and "the device is back" in said
    assert soundfile.info(record).frames == 15 * 16000
