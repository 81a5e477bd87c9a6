"""`tools/score_weights.py` and `tools/score_voicefilter.py` over a few trials."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from weights_fixture import voice, weights

from espnet_pse_kd import pretrained
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.kaldi import read_table, write_table

__all__ = ["weights"]  # a fixture

SCRIPT = Path(__file__).parents[1] / "tools/score_weights.py"
VOICEFILTER = SCRIPT.with_name("score_voicefilter.py")


def write_set(raw: Path, number: int) -> None:
    """One trial of 10 s of the scenario ``ts<number>``."""
    folder = raw / f"test_ts{number}"
    folder.mkdir(parents=True)
    own, other = voice(10.0), voice(10.0, seed=1, pitch=190.0)
    noise = np.random.default_rng(0).normal(0, 0.003, len(own)).astype(np.float32)
    target = own * (number != 3)
    rival = other * (number > 1)
    waves = {
        "wav.scp": target + rival + noise * (number > 0),
        "spk1.scp": target,
        "interf1.scp": rival,
        "enroll_spk1.scp": voice(10.0, seed=2),
    }
    for name, wave in waves.items():
        path = folder / f"{name}.wav"
        soundfile.write(path, wave, SAMPLE_RATE, subtype="FLOAT")
        write_table(folder / name, {"a": path})
    write_table(folder / "utt2scenario", {"a": f"ts{number}"})
    write_table(folder / "utt2spk", {"a": "me"})
    facts = {"uid": "a", "target": "me", "target_source": "mixed"}
    (folder / "trials.jsonl").write_text(json.dumps(facts))


def test_every_variant_is_a_row(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    for number in range(4):
        write_set(tmp_path / "raw", number)
    scores = tmp_path / "scores.jsonl"
    words = f"--dump_dir {tmp_path} --nj 1 --limits 12 --output {scores}".split()
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    table = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1] for line in table[2:]] == [
        "causal",
        "look-ahead",
        "causal, limit 12 dB",
        "look-ahead, limit 12 dB",
    ]
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    assert len(rows) == 16
    reduction = {
        row["call"]: row["leakage_reduction"]
        for row in rows
        if row["scenario"] == "ts3"
    }
    assert reduction["causal, limit 12 dB"] < reduction["causal"]
    assert reduction["look-ahead"] >= reduction["causal"] - 1e-3


def test_further_clips_are_of_other_recordings(tmp_path: Path) -> None:
    for number in range(4):
        write_set(tmp_path / "raw", number)
    clips = {"own": "first", "same": "mixed", "more": "second", "rest": "third"}
    split = tmp_path / "enroll/test"
    write_table(split / "utt2source", clips)
    write_table(split / "utt2spk", dict.fromkeys(clips, "me"))
    raw = tmp_path / "raw/test_ts0"
    own = read_table(raw / "enroll_spk1.scp")["a"]
    write_table(split / "wav.scp", {name: name for name in clips} | {"own": own})
    script = runpy.run_path(str(SCRIPT))
    trials = script["load_trials"](raw)
    for most, expected in (
        (1, [own]),
        (2, [own, "more"]),
        (9, [own, "more", "rest"]),
    ):
        assert script["enrolments"](raw, trials, most) == [expected]


def test_voicefilter_s_mixtures(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pretrained, "WEIGHTS", weights)
    own, other = voice(10.0), voice(9.0, seed=1, pitch=190.0)
    waves = {
        "clean/11-2-3.wav": own,
        "noisy/11-2-3.44-5-6.wav": own[: len(other)] + other,
        "reference/11-9-9.wav": voice(10.0, seed=2),
    }
    for name, wave in waves.items():
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, wave, SAMPLE_RATE, subtype="FLOAT")
    monkeypatch.setattr(sys, "argv", [str(VOICEFILTER), str(tmp_path)])
    runpy.run_path(str(VOICEFILTER), run_name="__main__")
    first, *counts = capsys.readouterr().out.splitlines()
    assert first.startswith("11-2-3.44-5-6.wav causal ")
    assert [line.split(":")[0] for line in counts] == ["causal", "look-ahead"]
    (tmp_path / "clean/11-2-3.wav").unlink()
    with pytest.raises(SystemExit) as status:
        runpy.run_path(str(VOICEFILTER), run_name="__main__")
    assert status.value.code == 2
    assert "clean/11-2-3.wav or its speaker's file" in capsys.readouterr().err
