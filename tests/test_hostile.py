"""The tables of `tools.hostile`: enough cases, a judge that judges, and quick ones."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.errors import UserError, one_line
from tools.hostile import requests, runner, yamls
from tools.hostile.ground import Case, Ground, lay_out, make_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder = tmp_path_factory.mktemp("hostile") / "inputs"
    return folder, *make_inputs(folder)


def judged(case: Case, inputs: tuple[Path, Any, Any], folder: Path) -> runner.Result:
    lay_out(inputs[0], folder)
    ground = Ground(folder, inputs[1], inputs[2], folder / "trace")
    return runner._judged(case, ground, inputs[0])


def test_there_are_enough_cases() -> None:
    found = runner.cases(list(runner.MODULES))
    assert len(found) >= 3000
    assert {case.kind for case in found} == set(runner.MODULES)


@pytest.mark.parametrize("module", [yamls, requests], ids=["yaml", "request"])
def test_quick_kinds_have_no_fault(
    module: Any, inputs: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    for number, case in enumerate(module.cases()):
        if number % 7 == 0:  # all of them: make hostile
            result = judged(case, inputs, tmp_path / str(number))
            assert not result.faults, result


def _lose(ground: Ground) -> None:
    os.replace("b.wav", "a.wav")


def _leave(ground: Ground) -> None:
    Path(".a.wav.1.pse_kd.tmp").touch()


FAULTS = {
    "crash": (lambda ground: 1 / 0, "ZeroDivisionError at test_hostile.py"),
    "exit": (lambda ground: exit(3), "SystemExit"),
    "lost": (_lose, "b.wav was lost"),
    "replaced": (_lose, "a.wav was lost or replaced"),
    "left": (_leave, "left behind"),
    "code": (lambda ground: ground.trace.touch(), "code of the input was run"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_seen(
    name: str, inputs: tuple[Path, Any, Any], tmp_path: Path
) -> None:
    does, fault = FAULTS[name]
    result = judged(Case("a", name, does), inputs, tmp_path / "case")  # type: ignore[arg-type]
    assert any(fault in found for found in result.faults), result
    fine = judged(Case("a", "b", lambda ground: None), inputs, tmp_path / "other")
    assert fine == fine._replace(refused=False, faults=[])


def _work(kinds: list[str], first: int, results: Any) -> None:
    import time

    results.send(None)
    for number in range(first, 4):
        if number == 1:
            os._exit(5)
        if number == 2:
            time.sleep(60)
        results.send(runner.Result(str(number), True, [], 0.0))


def test_hangs_and_ends_of_the_process_are_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [Case("a", str(number), lambda ground: None) for number in range(4)]
    monkeypatch.setattr(runner, "cases", lambda kinds: cases)
    monkeypatch.setattr(runner, "_work", _work)
    results = list(runner.run_all(["a"], limit=1.0))
    assert [one.faults for one in results] == [[], ["ended with 5"], ["over 1 s"], []]


# --- what the tables found -----------------------------------------------------------


def test_errors_are_one_line_whatever_they_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise UserError("a\nb\x1b[2J.wav: é; correct it")

    with contextlib.suppress(SystemExit):
        one_line(refuse)()
    assert capsys.readouterr().err == "error: a\\nb\\x1b[2J.wav: é; correct it\n"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("attenuation_limit_db", "6"),
        ("attenuation_limit_db", [6]),
        ("attenuation_limit_db", np.zeros(3)),
        ("attenuation_limit_db", True),
        ("look_ahead", np.zeros(3)),
        ("look_ahead", "yes"),
        ("profile", np.array(["x"])),
        ("profile", "me.profile"),
        ("rate", np.full(3, 16000)),
    ],
)
def test_arguments_of_wrong_types(
    argument: str, value: object, inputs: tuple[Path, Any, Any]
) -> None:
    given = {"wave": np.zeros(800, np.float32), "rate": 16000, "profile": inputs[2]}
    with pytest.raises(UserError):
        inputs[1](**{**given, argument: value})


@pytest.mark.parametrize("channels", [0, -1, 1.5, "1", None, True, 10**30])
def test_numbers_of_channels(
    channels: object, inputs: tuple[Path, PersonalizedEnhancer, Any]
) -> None:
    with pytest.raises(UserError, match="channels: .*; give 1 to 1024"):
        inputs[1].recording(inputs[2], 16000, channels)  # type: ignore[arg-type]
