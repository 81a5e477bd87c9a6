"""What a training refuses, and what stops it."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from docs_paths import ROOT

from espnet_pse_kd.bin import train
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.divergence import LossWatch
from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel
from espnet_pse_kd.espnet.task_checks import check_devices, check_resumption
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.optim import AveragedAdamW
from espnet_pse_kd.recipe import gate_constant as measured
from espnet_pse_kd.recipe import training
from espnet_pse_kd.recipe.training_data import fingerprints, other_files
from espnet_pse_kd.utils.yamls import read_config

CONF = ROOT / "conf"


# --- divergence ---------------------------------------------------------------------


def losses(count: int, level: float = 0.1, seed: int = 0) -> list[float]:
    rng = np.random.default_rng(seed)
    return (level * (1 + 0.3 * rng.standard_normal(count))).tolist()


@pytest.mark.parametrize("level", [0.1, -3.0])
def test_an_ordinary_training_is_not_stopped(level: float) -> None:
    """Nor by one odd batch, nor where a loss with an SNR changes its sign."""
    watch = LossWatch()
    for loss in (*losses(300, level), 50 * abs(level), *losses(50, level)):
        watch.see(loss)
    watch = LossWatch()
    for step in range(600):
        watch.see(0.2 - step * 1e-3 + losses(1, 0.05, step)[0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_once(value: float) -> None:
    with pytest.raises(UserError, match="training loss .*is kept; lower optim_conf lr"):
        LossWatch().see(value)


def test_ten_times_the_median_stops_after_some_steps() -> None:
    watch = LossWatch()
    for loss in losses(100):
        watch.see(loss)
    with pytest.raises(UserError, match=r"training loss 1\.5, 1\d times its median"):
        for _ in range(10):
            watch.see(1.5)
    below = LossWatch()
    for loss in (*losses(100), *[0.8] * 9):
        below.see(loss)


# --- devices ------------------------------------------------------------------------


def test_several_gpus_need_a_process_each() -> None:
    args = argparse.Namespace(ngpu=2, multiprocessing_distributed=False)
    with pytest.raises(UserError, match="--ngpu 2.*--multiprocessing_distributed true"):
        check_devices(args)
    args.multiprocessing_distributed = True
    check_devices(args)
    check_devices(argparse.Namespace(ngpu=1, multiprocessing_distributed=False))


@pytest.mark.parametrize(("ngpu", "each"), [("1", False), ("2", True)])
def test_the_recipe_gives_each_gpu_a_process(
    ngpu: str, each: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started = []
    monkeypatch.setattr(training, "run_all", lambda _, backend: started.append(backend))
    monkeypatch.setattr(training.Plan, "teacher_training", lambda *_: None)
    config = ["--config", str(CONF / "train_pvad.yaml"), "--expdir", str(tmp_path)]
    train.main([*config, "--ngpu", ngpu])
    assert ("--multiprocessing_distributed" in started[0].arguments) == each


def test_checking_needs_no_torch() -> None:
    """It is done before every run of the recipe, also of a stage without training."""
    code = (
        "import sys; from espnet_pse_kd.bin import train; train.main(sys.argv[1:]);"
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    config = ["--config", str(CONF / "tuning/train_pse_mingru.yaml"), "--check"]
    tables = ["--methods", "b2", "--methods_tables", str(CONF / "methods.yaml")]
    command = [sys.executable, "-c", code, *config, *tables]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "exp/pse_mingru_b2_seed0\n"


# --- data ---------------------------------------------------------------------------


def test_labels_need_the_interferer() -> None:
    model = ESPnetPVADModel(PersonalVAD("et", hidden=8, layers=1))
    wave, vector = torch.randn(1, 4000), torch.randn(1, 1, 256)
    with pytest.raises(UserError, match="interf_ref1: missing"):
        model(wave, wave, vector)


# --- the control without timing -----------------------------------------------------


def gate_file(folder: Path, posteriors: dict[tuple[str, str], np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        measured.key_of(*kind): measured.counts(posteriors.get(kind, np.zeros(0)))
        for kind in measured.kinds()
    }
    (folder / measured.FILE).write_text(json.dumps({"posteriors": found}))
    return folder


@pytest.mark.parametrize("kappa", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("scope", ["all", "its"])
def test_the_constant_follows_the_gate(
    tmp_path: Path, kappa: float, scope: str
) -> None:
    rng = np.random.default_rng(0)
    posteriors = {("nontarget_speech", "all"): rng.beta(0.3, 1, 5000)}
    posteriors["nontarget_speech", "its"] = rng.beta(1, 0.3, 5000)
    folder = gate_file(tmp_path, posteriors)
    constant = measured.gate_constant(folder, {"kappa": kappa, "scope": scope})
    wanted = ((1 - posteriors["nontarget_speech", scope]) ** kappa).mean()
    assert constant == pytest.approx(wanted, abs=0.005)


def test_overrides_reach_the_control(tmp_path: Path) -> None:
    posteriors = {("nontarget_speech", "all"): np.full(100, 0.5)}
    teacher = gate_file(tmp_path / "pvad", posteriors)
    plan = SimpleNamespace(teacher=teacher, overrides=[{"gate_conf": {"kappa": 2.0}}])
    plan._overridden = lambda config: training.Plan._overridden(plan, config)
    assert training.Plan._with_constant(plan, {"gate_conf": {"mode": "constant"}})[
        "gate_conf"
    ]["constant"] == pytest.approx(0.25, abs=0.001)
    none = {"gate_conf": {"mode": "soft"}}
    assert training.Plan._with_constant(plan, none) == none


def test_a_gate_that_was_not_measured_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gate.json: no such file; run stage 4"):
        measured.gate_constant(tmp_path, {})
    folder = gate_file(tmp_path, {})
    with pytest.raises(UserError, match="nontarget/its applies to no training frame"):
        measured.gate_constant(folder, {"frames": "nontarget", "scope": "its"})
    (folder / measured.FILE).write_text('{"mean_weight": 0.5}')
    with pytest.raises(UserError, match="no posteriors of nontarget_speech/all"):
        measured.gate_constant(folder, {})


# --- YAMLs --------------------------------------------------------------------------


def test_a_yaml_is_laid_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "optim: muon\noptim_conf: {lr: 1, average: 0.9}\nseed: 0\nlist: [1, 2]\n"
    )
    (tmp_path / "sub").mkdir()
    delta = tmp_path / "sub/delta.yaml"
    delta.write_text("base: ../base.yaml\noptim_conf: {lr: 2}\nlist: [3]\n")
    assert read_config(delta) == {
        "optim": "muon",
        "optim_conf": {"lr": 2, "average": 0.9},
        "seed": 0,
        "list": [3],
    }
    delta.write_text("base: ../base.yaml\noptim: adam\noptim_conf: {betas: 1}\n")
    found = read_config(delta)
    assert (found["optim"], found["optim_conf"]) == ("adam", {"betas": 1})
    delta.write_text("base: delta.yaml\n")
    with pytest.raises(UserError, match="its base leads back to itself"):
        read_config(delta)
    delta.write_text("base: none.yaml\n")
    with pytest.raises(UserError, match="none.yaml: no such file"):
        read_config(delta)


STUDENTS = sorted((CONF / "tuning").glob("train_pse_*.yaml"))


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_all_students_have_one_schedule_average_and_clipping(path: Path) -> None:
    config = read_config(path)
    assert config["scheduler"] == "tristagelr"
    shares = config["scheduler_conf"]
    parts = [shares[f"{name}_ratio"] for name in ("warmup", "hold", "decay")]
    assert sum(parts) == pytest.approx(1.0) and shares["final_lr_scale"] < 0.1
    assert config["optim_conf"]["average"] == 0.999
    assert config["grad_clip"] == 0.1 and config["keep_nbest_models"] == 5
    assert config["iterator_type"] == "sequence" and "base" not in config


def test_averaged_adamw_is_adamw() -> None:
    torch.manual_seed(0)
    nets = [torch.nn.Linear(4, 3) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    ours = AveragedAdamW(nets[0].parameters(), lr=0.01, average=0.9)
    theirs = torch.optim.AdamW(nets[1].parameters(), lr=0.01, weight_decay=0.0)
    x = torch.randn(8, 4)
    for _ in range(3):
        for net, optimizer in zip(nets, (ours, theirs), strict=True):
            optimizer.zero_grad()
            net(x).square().sum().backward()
            optimizer.step()
    assert torch.equal(nets[0].weight, nets[1].weight)
    latest = nets[0].weight.clone()
    ours.use_average()
    assert not torch.equal(nets[0].weight, latest)


# --- resumption ---------------------------------------------------------------------


def test_a_training_goes_on_with_its_own_seed_and_data(tmp_path: Path) -> None:
    now = {
        "output_dir": str(tmp_path),
        "resume": True,
        "seed": 0,
        "dynamic_mixing": {"data": "data", "samples": 10, "options": {"sir": [0, 1]}},
        "train_data_path_and_name_and_type": [("a.scp", "speech_mix", "sound")],
        "train_shape_file": ["shape"],
        "train_enroll_vectors": "vectors.npz",
    }
    before = json.loads(json.dumps(now))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(before))
    check_resumption(argparse.Namespace(**{**now, "seed": 1}))  # nothing to go on from
    (tmp_path / "checkpoint.pth").touch()
    check_resumption(argparse.Namespace(**now))
    changes = {
        "seed": 1,
        "dynamic_mixing": {**now["dynamic_mixing"], "samples": 8},
        "train_data_path_and_name_and_type": [("b.scp", "speech_mix", "sound")],
    }
    for option, value in changes.items():
        args = argparse.Namespace(**{**now, option: value})
        with pytest.raises(UserError, match=f"--{option}: .*was begun with"):
            check_resumption(args)
        args.resume = False
        check_resumption(args)


def test_a_shortened_corpus_is_told_by_its_length(tmp_path: Path) -> None:
    table = tmp_path / "wav.scp"
    table.write_text("a x\nb y\n")
    before = fingerprints([table])
    assert other_files(before, fingerprints([table])) == []
    # Trainings of 0.1.0 know the digest alone.
    bare = {key: value.split()[-1] for key, value in before.items()}
    assert other_files(bare, before) == []
    table.write_text("a x\n")
    now = fingerprints([table])
    assert other_files(before, now) == [str(table)]
    assert before[str(table)].startswith("2 lines") and now[str(table)][:6] == "1 line"
