"""What a run trains, rates and blends."""

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from espnet_pse_kd.bin import scope
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.recipe.scope import Run, Scoring, scoring

PRESET = Scoring(["b1", "s"], [0], ["b2", "s"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """It trains b1; earlier ones trained s, and enhanced one test set with it."""
    output = tmp_path / "pse_net_s_seed1/enhanced_test_ts0/spk1.scp"
    output.parent.mkdir(parents=True)
    output.touch()
    (tmp_path / "pse_net_h_seed0").mkdir()
    return Run(["b1"], [0, 1], ["test_ts0", "test_ts1"], tmp_path)


def test_methods_of_earlier_runs_count_where_they_were_trained(run: Run):
    assert [run.has(name) for name in ("b1", "s", "h", "b2")] == [True] * 3 + [False]
    assert [run.has(name) for name in ("*", "s_seed", "net")] == [False] * 3


def test_outputs_of_earlier_runs_count_where_they_are_of_these_sets(run: Run):
    assert [run.scores(name) for name in ("b1", "s", "h")] == [True, True, False]
    other = replace(run, test_sets=["test_ts1"])
    assert [other.scores(name) for name in ("b1", "s")] == [True, False]


def test_a_shared_model_takes_the_place_of_what_would_be_trained(run: Run):
    shared = replace(run, shared=True)
    assert [shared.scores(name) for name in ("b1", "s")] == [False, True]


def test_of_the_preset_only_what_is_scored_is_kept(run: Run):
    assert scoring(run, PRESET, PRESET) == Scoring(["b1", "s"], [0], ["s"])
    assert scoring(replace(run, seeds=[2]), PRESET, PRESET).dnsmos_seeds == []
    shared = scoring(replace(run, shared=True), PRESET, PRESET)
    assert shared == Scoring(["s"], [], ["s"])


def test_what_the_user_names_is_kept_or_refused(run: Run):
    asked = Scoring(["h"], [7], ["s", "b1"])
    assert scoring(run, asked, PRESET) == asked
    for option in ("dnsmos_methods", "dry_blend_methods"):
        wrong = replace(asked, **{option: ["b1", "b2"]})
        with pytest.raises(UserError, match=f"--{option} b2: choose from b1"):
            scoring(run, wrong, PRESET)
    unknown = Scoring(["theirs"], [7], ["theirs"])
    assert scoring(replace(run, shared=True), unknown, PRESET) == unknown


@pytest.mark.parametrize(
    ("methods", "shared", "blended"),
    [(["b1", "h"], False, ["h"]), (["b1", "h"], True, []), ([], False, [])],
)
def test_the_last_method_is_blended_unless_others_are_named(
    run: Run, methods: list[str], shared: bool, blended: list[str]
):
    run = replace(run, methods=methods, shared=shared)
    assert scoring(run, Scoring(), Scoring()).dry_blend_methods == blended


def test_command_prints_assignments_that_a_shell_reads(
    run: Run, capsys: pytest.CaptureFixture[str]
):
    words = "--best s --seeds '0 2' --test_sets test_ts0 --methods 'b1  best'"
    words += " --dnsmos_methods=best --preset_dnsmos_methods=b1 --dnsmos_seeds=2"
    scope.main([*shlex.split(words), "--expdir", str(run.expdir)])
    text = capsys.readouterr().out
    names = ("methods", "seeds", "dnsmos_methods", "dnsmos_seeds", "dry_blend_methods")
    assert sorted(line.partition("=")[0] for line in text.splitlines()) == sorted(names)
    echo = "".join(f'echo "${{{name}}}";' for name in names)
    read = subprocess.run(["bash", "-uc", text + echo], capture_output=True, text=True)
    assert read.stdout.splitlines() == ["b1 s", "0 2", "s", "2", "s"]


@pytest.mark.parametrize("word", ["one", "-1", "1.5", "²"])
def test_seeds_are_numbers(word: str):
    with pytest.raises(UserError, match=f"--seeds {word}: give numbers"):
        scope.numbers("seeds", f"0 {word}")


def test_command_needs_neither_torch_nor_espnet():
    """It runs before every run, a list of stages included."""
    code = "import sys, espnet_pse_kd.bin.scope; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"torch", "numpy", "espnet2"} & set(loaded)
