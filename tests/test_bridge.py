"""`cli.devices.Bridge`: what the input's thread leaves, the output's takes."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

import numpy as np
import pytest

from espnet_pse_kd.cli.devices import Bridge, Pair, PortAudio
from espnet_pse_kd.errors import UserError

BLOCK = 4
FINE = Namespace(input_overflow=False, output_underflow=False)


class Ends:
    """A microphone that says 1, 2, 3 ..., and a loudspeaker that writes down."""

    def __init__(self) -> None:
        self.lost: list[bool] = []
        self.said = 0
        self.bridge = Bridge(BLOCK, self._work)

    def _work(self, given: np.ndarray, wanted: np.ndarray, lost: bool) -> None:
        assert given.shape == wanted.shape == (BLOCK,)
        wanted[:] = given
        self.lost.append(lost)

    def say(self, times: int = 1, **status: bool) -> None:
        for _ in range(times):
            self.said += 1
            block = np.full((BLOCK, 1), self.said, np.float32)
            self.bridge.hear(block, BLOCK, None, Namespace(**{**vars(FINE), **status}))
            block[:] = -1  # PortAudio uses its buffers again

    def speak(self, times: int = 1, **status: bool) -> list[float]:
        heard = []
        for _ in range(times):
            wanted = np.full((BLOCK, 1), np.nan, np.float32)
            given = Namespace(**{**vars(FINE), **status})
            self.bridge.speak(wanted, BLOCK, None, given)
            assert len(set(wanted[:, 0])) == 1
            heard.append(float(wanted[0, 0]))
        return heard


def test_in_step_nothing_is_lost() -> None:
    ends, heard = Ends(), []
    for _ in range(10):
        ends.say()
        heard += ends.speak()
    assert heard == [0, *range(1, 10)]  # one block waits
    assert not any(ends.lost)


def test_silence_until_two_blocks_wait() -> None:
    ends = Ends()
    assert ends.speak(3, output_underflow=True) == [0, 0, 0]
    ends.say()
    assert ends.speak() == [0]
    ends.say()
    assert ends.speak(2) == [1, 2]
    assert ends.lost == [False, False]  # before the first sound nothing can be lost


def test_an_input_that_is_late() -> None:
    ends = Ends()
    ends.say(2)
    assert ends.speak(3) == [1, 2, 0]
    ends.say(1)
    assert ends.speak() == [0]
    ends.say(2)
    assert ends.speak(3) == [3, 4, 5]
    assert ends.lost == [False, False, True, False, False]


def test_an_output_that_is_late() -> None:
    ends = Ends()
    ends.say(Bridge.MOST + 3)
    assert ends.speak(Bridge.MOST) == list(range(4, Bridge.MOST + 4))
    assert ends.lost == [True] + [False] * (Bridge.MOST - 1)


@pytest.mark.parametrize("status", ["input_overflow", "output_underflow"])
def test_what_the_system_lost_is_told_once(status: str) -> None:
    ends = Ends()
    ends.say(2)
    ends.speak(2)
    ends.say(1, input_overflow=status == "input_overflow")
    ends.say(1)
    ends.speak(1, output_underflow=status == "output_underflow")
    ends.speak(1)
    assert ends.lost == [False, False, True, False]


class Stream:
    """Stands in for one of sounddevice's streams."""

    opened: list[Stream]
    broken = ""

    def __init__(self, kind: str, **asked: Any) -> None:
        if kind == self.broken:
            raise ValueError("Invalid device\nmore")
        self.kind, self.asked = kind, asked
        self.samplerate, self.latency = asked["samplerate"], 0.05
        self.active, self.closed = False, False
        self.opened.append(self)

    def start(self) -> None:
        self.active = True

    def close(self) -> None:
        self.active, self.closed = False, True


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    opened: list[Stream] = []
    monkeypatch.setattr(Stream, "opened", opened, raising=False)
    fake = Namespace(
        PortAudioError=OSError,
        InputStream=lambda **asked: Stream("in", **asked),
        OutputStream=lambda **asked: Stream("out", **asked),
    )
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return opened


@pytest.mark.parametrize("latency", [None, 0.2])
def test_devices_have_a_stream_each(
    streams: list[Stream], latency: float | None
) -> None:
    with PortAudio().open(
        Pair(3, 5), 16000, 320, lambda *ignored: None, latency
    ) as running:
        given, wanted = streams
        assert (given.asked["device"], wanted.asked["device"]) == (3, 5)
        asked = given.asked["latency"], wanted.asked["latency"]
        assert asked == (("low", 0.06) if latency is None else (0.2, 0.2))
        assert running.active
        assert running.latency == (0.05 + 2 * 320 / 16000, 0.05)
        wanted.active = False
        assert not running.active
    assert given.closed and wanted.closed


def test_an_output_that_cannot_be_opened_closes_the_input(
    streams: list[Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stream, "broken", "out")
    with (
        pytest.raises(UserError, match=r"--input 3 --output 5: .*\(Invalid device\)"),
        PortAudio().open(Pair(3, 5), 16000, 320, lambda *ignored: None),
    ):
        pass
    assert [stream.closed for stream in streams] == [True]
