"""The development ground: two talkers as in Libri2Mix, listed trials, refusals."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from corpus_fixture import make_librispeech

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.bin import development
from espnet_pse_kd.corpora.merge import Corpus, SplitOptions
from espnet_pse_kd.corpora.prepare import prepare_corpora
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.simulation import mixing
from espnet_pse_kd.simulation.split import load_inventory
from espnet_pse_kd.simulation.two_talkers import (
    LEVELS,
    PEAK,
    draw_mixtures,
    read_list,
    write_list,
    write_set,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    make_librispeech(root)
    prepare_corpora(
        root / "data",
        [Corpus("librispeech", root / "LibriSpeech")],
        root / "noise",
        root / "rir",
        SplitOptions(dev_speakers=4),
        simulated_dev_rooms=False,
    )
    return root / "data"


def test_mixtures_are_drawn_as_in_libri2mix(data: Path) -> None:
    inventory = load_inventory(data / "dev")
    mixtures = draw_mixtures(inventory, 400, 0)
    owner = read_table(data / "dev/speech/utt2spk")
    sexes = read_table(data / "dev/speech/spk2gender")
    same = 0
    for mixture in mixtures:
        pair = [owner[utt] for utt in mixture.sources]
        assert pair[0] != pair[1]
        assert pair == [owner[utt] for utt in mixture.enrolments]
        assert not {*mixture.sources} & {*mixture.enrolments}
        same += sexes[pair[0]] == sexes[pair[1]]
    assert same == 200
    levels = np.array([mixture.levels for mixture in mixtures])
    assert LEVELS[0] <= levels.min() and levels.max() <= LEVELS[1]
    ratio = levels[:, 0] - levels[:, 1]
    # Triangular within 8 dB, as the difference of two uniform levels is.
    assert abs(ratio.mean()) < 0.5
    assert ratio.std() == pytest.approx(8 / 6**0.5, rel=0.1)
    firsts = [owner[mixture.sources[0]] for mixture in mixtures]
    assert {firsts.count(speaker) for speaker in set(firsts)} == {100}


def test_both_trials_of_a_mixture(data: Path, tmp_path: Path) -> None:
    mixtures = draw_mixtures(load_inventory(data / "dev"), 4, 1)
    write_list(tmp_path / "a.csv.gz", mixtures)
    write_list(tmp_path / "b.csv.gz", mixtures)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert read_list(tmp_path / "a.csv.gz") == mixtures
    write_set(data / "dev", mixtures, tmp_path, "dev2mix_max")
    folder = tmp_path / "raw/dev2mix_max"
    wavs, own, other = (
        {uid: read_audio(path) for uid, path in read_table(folder / name).items()}
        for name in ("wav.scp", "spk1.scp", "interf1.scp")
    )
    facts = [json.loads(x) for x in (folder / "trials.jsonl").read_text().splitlines()]
    assert len(facts) == len(wavs) == 8
    clips = read_table(tmp_path / "enroll/dev2mix/utt2spk")
    paths = read_table(tmp_path / "enroll/dev2mix/wav.scp")
    named = read_table(folder / "enroll_spk1.scp")
    for k, fact in enumerate(facts):
        uid, twin = fact["uid"], facts[k ^ 1]["uid"]
        assert np.array_equal(wavs[uid], wavs[twin])
        assert np.array_equal(own[uid], other[twin])
        assert np.allclose(wavs[uid], own[uid] + other[uid], atol=1e-4)
        assert np.abs(wavs[uid]).max() <= PEAK + 1e-4
        assert clips[fact["enroll_id"]] == fact["target"]
        assert named[uid] == paths[fact["enroll_id"]]
        levels = [10 * np.log10(mixing.active_power(x[uid])) for x in (own, other)]
        assert levels[0] - levels[1] == pytest.approx(fact["sir"], abs=0.3)


def run(data: Path, folder: Path, *options: str) -> None:
    development.main(
        ["--data_dir", str(data), "--dump_dir", str(folder / "dump"), "--nj", "1"]
        + ["--lists", str(folder / "lists"), *options]
    )


def test_listed_trials_are_made_and_no_others(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(data, tmp_path, "--draw", "--trials", "4")
    assert not (tmp_path / "dump").exists()
    run(data, tmp_path)
    raw = tmp_path / "dump/raw"
    names = {"dev2mix_max", *(f"dev_ts{k}" for k in range(4))}
    assert {path.name for path in raw.iterdir()} == names
    assert all(len(read_table(raw / name / "wav.scp")) == 4 for name in names)
    path = tmp_path / "lists/dev_ts.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    listed = json.loads(lines[2])
    made = (raw / "dev_ts2/trials.jsonl").read_text().splitlines()[2]
    assert json.loads(made)["target"] == listed["target"]
    assert json.loads(made)["sir"] == pytest.approx(listed["sir"], abs=1e-3)
    lines[2] = json.dumps(listed | {"target": "somebody"})
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(SystemExit):
        run(data, tmp_path)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "1 of 4 trials would be others than listed, the first is number 2" in error


def test_damaged_lists_and_other_corpora(data: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv.gz").write_bytes(b"no list")
    with pytest.raises(UserError, match="x.csv.gz: not the list of mixtures"):
        read_list(tmp_path / "x.csv.gz")
    mixtures = draw_mixtures(load_inventory(data / "test"), 2, 0)
    with pytest.raises(UserError, match="dev: utterance .* of the list is not in it"):
        write_set(data / "dev", mixtures, tmp_path, "dev2mix_max")
    assert not (tmp_path / "raw").exists()
