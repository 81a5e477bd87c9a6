"""The recipe as a user runs it: all eight stages, and SIGKILL in the middle of them.

One reference run on a tiny synthesized corpus; then stages 2, 4 and 5 once more in
other folders, killed at random moments and resumed, must give the same.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUN = ROOT / "egs2_recipe/run.sh"
EPOCH_STARTED = "epoch started"


def command(folder: Path, *args: str) -> list[str]:
    options = {
        "--preset": "debug",
        "--datadir": folder / "data",
        "--dumpdir": folder / "dump",
        "--expdir": folder / "exp",
        "--results": folder / "RESULTS.md",
    }
    return [str(RUN), *(str(word) for pair in options.items() for word in pair), *args]


def environment() -> dict[str, str]:
    return {**os.environ, "VIRTUAL_ENV": sys.prefix}


def stage(number: int) -> tuple[str, ...]:
    return "--stage", str(number), "--stop_stage", str(number)


def run(folder: Path, *args: str) -> str:
    result = subprocess.run(
        command(folder, *args), capture_output=True, text=True, env=environment()
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stderr


def run_and_kill(folder: Path, moment, *args: str) -> None:
    """Start the recipe, wait for ``moment()`` and a random time more, kill it all."""
    log = folder / "killed.log"
    with open(log, "w") as output:
        process = subprocess.Popen(
            command(folder, *args),
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not moment():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_for(folder: Path, seconds: float, *args: str) -> bool:
    """Start the recipe and kill it all after a time; False if it was done before."""
    with open(folder / "killed.log", "w") as output:
        process = subprocess.Popen(
            command(folder, *args),
            stdout=output,
            stderr=output,
            env=environment(),
            start_new_session=True,
        )
        try:
            assert process.wait(seconds) == 0, (folder / "killed.log").read_text()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        return False


def training_started(log: Path):
    return lambda: log.is_file() and EPOCH_STARTED in log.read_text(errors="replace")


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Folder of an undisturbed run of all stages."""
    folder = tmp_path_factory.mktemp("reference")
    run(folder, "--stage", "1", "--stop_stage", "8")
    return folder


def scores(folder: Path) -> list[dict[str, str]]:
    with open(folder / "exp/scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def same(value: str, other: str) -> bool:
    try:
        return float(value) == pytest.approx(float(other), abs=1e-3)
    except ValueError:
        return value == other


def parameters(path: Path) -> dict:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``; the folder's own name does not count."""
    return {
        str(path.relative_to(folder)): path.read_bytes().replace(
            str(folder.parent).encode(), b""
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_all_stages_give_scores_tables_and_packs(reference):
    exp = reference / "exp"
    systems = {row["system"] for row in scores(reference)}
    assert systems == {"noisy", "clean", "wiener", "root_wiener", "b1", "s", "s+0.2x"}
    results = (reference / "RESULTS.md").read_text()
    assert "- command: `./run.sh '--preset' 'debug'" in results
    assert all(f"|{n}_" in results for n in range(1, 9)), "a stage has no wall time"
    for name in ("pse_mingru_b1_seed0", "pse_mingru_s_seed0", "pvad_default"):
        record = json.loads((exp / name / "run.json").read_text())
        assert record["finished"] and record["wall_seconds"] > 0
        assert zipfile.is_zipfile(exp / name / f"{name}.zip")
    packed = zipfile.ZipFile(exp / "pse_mingru_s_seed0/pse_mingru_s_seed0.zip")
    for name in packed.namelist():
        if name.endswith(".yaml"):
            assert b"teacher" not in packed.read(name)


def test_methods_continue_from_the_trunk(reference):
    exp = reference / "exp"
    for method in ("b1", "s"):
        log = (exp / f"pse_mingru_{method}_seed0/train.log").read_text()
        assert "2/2" + EPOCH_STARTED in log
        assert "1/2" + EPOCH_STARTED not in log
    # The methods' data differ, so do their parameters.
    b1, s = (
        parameters(exp / f"pse_mingru_{method}_seed0/2epoch.pth")
        for method in ("b1", "s")
    )
    assert any((b1[key] != s[key]).any() for key in b1)


def test_a_run_without_teacher(reference, tmp_path):
    """Half of the ITS samples, no personal VAD, scores of another name."""
    (tmp_path / "data").symlink_to(reference / "data")
    table = tmp_path / "half.yaml"
    table.write_text("half: {summary: b2 on less, its: 0.5}\n")
    run(
        tmp_path,
        *("--stage", "2", "--stop_stage", "7", "--methods", "half"),
        *("--methods_tables", f"conf/methods.yaml {table}"),
        *("--skip_teacher", "true", "--its_variants", "0.5 partial"),
        *("--score_tag", "half"),
    )
    exp = tmp_path / "exp"
    config = (exp / "pse_mingru_half_seed0/config.yaml").read_text()
    assert "raw/train_its50/wav.scp" in config and "raw/dev_its50/wav.scp" in config
    other = (tmp_path / "dump/raw/train_its_partial/utt2scenario").read_text()
    assert " partial\n" in other and "ts3" not in other
    with open(exp / "scores_half.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"noisy", "half", "half+0.2x"} <= {row["system"] for row in rows}
    assert any(row["words"] for row in rows)  # the ASR is trained all the same
    assert (exp / "report_half.html").is_file()
    left_out = ("exp/scores.csv", "exp/pvad_*", "dump/raw/*/window_vectors*")
    assert not [path for name in left_out for path in tmp_path.glob(name)]


def test_a_second_run_trains_nothing_and_other_options_are_refused(reference):
    model = reference / "exp/pse_mingru_s_seed0/2epoch.pth"
    before = model.stat().st_mtime_ns
    shown = run(reference, *stage(5))
    assert "pse_mingru_s_seed0: finished, kept" in shown
    assert model.stat().st_mtime_ns == before
    refused = subprocess.run(
        command(reference, *stage(5), "--pse_epochs", "3"),
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert refused.returncode == 2
    assert "it was trained with other options" in refused.stderr
    assert model.stat().st_mtime_ns == before


def test_killed_stages_resume_to_the_same(reference, tmp_path):
    seed = random.randrange(2**32)
    print("moments to kill: random.seed", seed)
    random.seed(seed)
    (tmp_path / "data").symlink_to(reference / "data")
    dump = tmp_path / "dump"
    run_and_kill(tmp_path, lambda: any(dump.rglob("*.wav")), *stage(2))
    run(tmp_path, *stage(2))
    files = contents(reference / "dump").items()
    undisturbed = {name: data for name, data in files if "vectors" not in name}
    assert contents(dump) == undisturbed

    run(tmp_path, *stage(3))
    exp = tmp_path / "exp"
    moment = training_started(exp / "pvad_default/train.log")
    run_and_kill(tmp_path, moment, *stage(4))
    run(tmp_path, *stage(4))
    moment = training_started(exp / "pse_mingru_s_seed0/train.log")
    run_and_kill(tmp_path, moment, *stage(5), "--asr_config", "")
    run(tmp_path, *stage(5), "--asr_config", "")

    run(tmp_path, "--stage", "6", "--stop_stage", "7", "--asr_config", "")
    ours, theirs = scores(tmp_path), scores(reference)
    assert len(ours) == len(theirs)
    for killed, whole in zip(ours, theirs):
        for key, value in killed.items():  # without the ASR's columns
            assert same(value, whole[key]), (killed["uid"], key)


@pytest.mark.dev
def test_twenty_kills_resume_to_equal_scores(tmp_path):
    """Stages 2, 4, 5, 6 and 7, each four times: at fifths of their time undisturbed."""
    whole, killed, kills = tmp_path / "whole", tmp_path / "killed", 0
    whole.mkdir()
    killed.mkdir()
    for number in range(1, 8):
        start = time.monotonic()
        run(whole, *stage(number))
        seconds = time.monotonic() - start
        for fifth in range(1, 5) if number in (2, 4, 5, 6, 7) else ():
            kills += run_for(killed, fifth / 5 * seconds, *stage(number))
        run(killed, *stage(number))
    print(kills, "kills")
    assert kills >= 12  # what resumes may be done before its time
    ours, theirs = scores(killed), scores(whole)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        for key, value in one.items():
            assert same(value, other[key]), (one["uid"], key)
