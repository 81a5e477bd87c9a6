"""The methods table, the merge of base YAML and method, and training folders."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from espnet_pse_kd.bin import train
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.recipe import gate_constant as measured
from espnet_pse_kd.recipe import jobs, training
from espnet_pse_kd.recipe.methods import merge, override, read_methods, select
from espnet_pse_kd.simulation.dynamic import DynamicMixing
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.utils import checkout
from espnet_pse_kd.utils.yamls import read_config

ROOT = Path(__file__).parents[1]
METHODS = read_methods(ROOT / "conf/methods.yaml")
ABLATION = read_methods(ROOT / "conf/ablation.yaml")
BASE = {
    "max_epoch": 4,
    "criterions": [{"name": "plcpa", "conf": {"p": 0.3}, "wrapper": "gated"}],
    "gate_conf": {"mode": "none", "theta": 0.4},
}


def test_table_has_the_systems_of_the_method():
    assert list(METHODS) == [
        "b0",
        "b1",
        "b2",
        "b3",
        "h",
        "s",
        "c_shuffle",
        "c_shift",
        "c_constant",
        "r_log",
        "s_asym",
        "r_log_asym",
        "r_log_asym_error",
    ]
    assert [name for name, m in METHODS.items() if not m.its] == ["b0", "b1"]
    assert {n for n, m in METHODS.items() if m.teacher} == {
        "h",
        "s",
        "c_shuffle",
        "c_shift",
        "s_asym",
    }


def test_ablation_changes_one_thing_at_a_time():
    """Each row differs from the method that its name starts with in one value."""

    def leaves(tree: object, path: str = "") -> dict[str, object]:
        if isinstance(tree, list) and isinstance(tree[0], dict):
            tree = {entry["name"]: entry for entry in tree}
        if not isinstance(tree, dict):
            return {path: tree}
        return {
            k: v for key in tree for k, v in leaves(tree[key], f"{path}.{key}").items()
        }

    yaml_file = ROOT / "conf/tuning/train_pse_mingru.yaml"
    base = read_config(yaml_file)
    base["gate_conf"] = dataclasses.asdict(Gate())
    for name, method in ABLATION.items():
        parent = METHODS[max(filter(name.startswith, METHODS), key=len)]
        ours, theirs = (
            leaves(
                {**merge(base, one.options), "its": one.its, "alone": one.from_scratch}
            )
            for one in (method, parent)
        )
        changed = {k for k in ours | theirs if ours.get(k) != theirs.get(k)}
        assert len(changed) == 1, (name, changed)
        assert method.teacher == parent.teacher


def test_merge_keeps_the_base_and_descends():
    merged = merge(BASE, METHODS["h"].options)
    assert merged["gate_conf"] == {"mode": "hard", "theta": 0.4}
    assert BASE["gate_conf"]["mode"] == "none"


def test_merge_adds_and_changes_criterions_by_name():
    b3 = merge(BASE, METHODS["b3"].options)["criterions"]
    assert [entry["name"] for entry in b3] == ["plcpa", "oversuppression"]
    r_log = merge(BASE, METHODS["r_log"].options)["criterions"]
    assert r_log[0]["conf"] == {"p": 0.3, "frames": "target"}
    assert r_log[0]["wrapper"] == "gated"


def test_merge_refuses_to_change_a_criterion_that_is_not_there():
    with pytest.raises(UserError, match="'plcpa', which the base YAML lacks"):
        merge({"criterions": []}, METHODS["r_log"].options)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b1", "rlog"], "unknown method 'rlog'; did you mean 'r_log'"),
        (["s", "s"], "'s' is named twice"),
        ([], "empty; choose from b0 b1"),
    ],
)
def test_select_refuses(names, message):
    with pytest.raises(UserError, match=message):
        select(METHODS, names)


def test_methods_table_refuses_an_unknown_key(tmp_path):
    (tmp_path / "m.yaml").write_text("x: {summary: y, its: true, option: {}}")
    with pytest.raises(UserError, match="unknown key 'option'"):
        read_methods(tmp_path / "m.yaml")


@pytest.mark.parametrize("its", ["1.5", "half", "0.001", "1"])
def test_methods_table_refuses_a_share_that_is_none(its, tmp_path):
    (tmp_path / "m.yaml").write_text(f"x: {{summary: y, its: {its}}}")
    with pytest.raises(UserError, match="a share of 0.01 to 0.99"):
        read_methods(tmp_path / "m.yaml")


def test_a_method_stands_in_one_table():
    tables = (ROOT / "conf/methods.yaml", ROOT / "conf/ablation.yaml")
    assert {*read_methods(*tables)} == {*METHODS, *ABLATION}
    with pytest.raises(UserError, match="b0: stands in"):
        read_methods(tables[0], tables[0])


def test_override_descends_and_reads_yaml_values():
    assert override("gate_conf.theta=0.7") == {"gate_conf": {"theta": 0.7}}
    assert override("a=[1, x]") == {"a": [1, "x"]}
    with pytest.raises(UserError, match="write KEY=VALUE"):
        override("theta")


@pytest.fixture
def plan(tmp_path):
    """A plan over data folders that hold what a training's identity needs."""
    for name in ("train", "train_noits", "dev", "dev_noits"):
        folder = tmp_path / "dump/raw" / name
        write_table(folder / "enroll_id", {"a": f"clip_{name}"})
        (folder / "trials.jsonl").write_text(json.dumps({"uid": "a", "set": name}))
    for split in ("train", "dev"):
        folder = tmp_path / "dump/enroll" / split
        folder.mkdir(parents=True)
        vectors = EnrolmentVectors([split], ["s"], ["r"], np.eye(1, 256))
        vectors.save(folder / "vectors.npz")
    return training.Plan(BASE, "x", tmp_path / "exp", tmp_path / "dump")


def finish(one: training.Training) -> None:
    training.prepare(one.exp, one.config)
    (one.exp / "checkpoint.pth").write_bytes(b"x")
    (one.exp / "run.json").write_text('{"finished": true}')


def test_methods_train_on_their_data(plan, tmp_path):
    b1, b2 = (plan.student(METHODS[name], 3, forked=False) for name in ("b1", "b2"))
    assert b1.exp.name == "pse_x_b1_seed3"
    assert b1.config["seed"] == 3
    paths = [path for path, _, _ in b1.config["train_data_path_and_name_and_type"]]
    assert str(tmp_path / "dump/raw/train_noits/wav.scp") in paths
    assert b2.config["train_shape_file"][0].endswith("raw/train/utt2num_samples")
    assert b1.config["train_enroll_vectors"] == b2.config["train_enroll_vectors"]


def test_method_may_ask_for_a_part_of_the_its_samples(plan, tmp_path):
    half = dataclasses.replace(METHODS["b2"], its=0.5)
    for name in ("train_its50", "dev_its50"):
        folder = tmp_path / "dump/raw" / name
        write_table(folder / "enroll_id", {"a": f"clip_{name}"})
        (folder / "trials.jsonl").write_text(json.dumps({"uid": "a", "set": name}))
    config = plan.student(half, 0, forked=False).config
    assert config["train_shape_file"][0].endswith("raw/train_its50/utt2num_samples")
    assert config["valid_shape_file"][0].endswith("raw/dev_its50/utt2num_samples")


def test_method_may_ask_for_a_construction_of_the_its_samples(plan):
    partial = dataclasses.replace(METHODS["b2"], its="partial")
    for name in ("train_its_partial", "dev_its_partial"):
        folder = plan.dumpdir / "raw" / name
        write_table(folder / "enroll_id", {"a": f"clip_{name}"})
        (folder / "trials.jsonl").write_text(json.dumps({"uid": "a", "set": name}))
    config = plan.student(partial, 0, forked=False).config
    assert config["train_shape_file"][0].endswith("train_its_partial/utt2num_samples")


def test_a_tag_names_the_folder(capsys):
    config = ["--config", str(ROOT / "conf/train_pvad.yaml"), "--check"]
    train.main(config)
    train.main([*config, "--tag", "et", "--set", "pvad_conf.conditioning=et"])
    assert capsys.readouterr().out == "exp/pvad_default\nexp/pvad_et\n"


def test_method_from_scratch_does_not_fork(plan):
    finish(plan.trunk(0, epochs=2))
    alone = dataclasses.replace(METHODS["b2"], from_scratch=True)
    assert "fork_checkpoint" not in plan.student(alone, 0, forked=True).config
    assert "fork_checkpoint" in plan.student(METHODS["b2"], 0, forked=True).config


def test_student_says_whose_vectors_it_learnt_from(plan, tmp_path):
    """An enrolment that comes as a waveform later must meet the same encoder."""

    def conf(extractor: str, **extractor_conf) -> dict:
        base = {**BASE, "extractor": extractor, "extractor_conf": extractor_conf}
        named = dataclasses.replace(plan, base=base)
        return named.student(METHODS["b2"], 0, False).config["extractor_conf"]

    note = tmp_path / "dump/enroll/train/vectors/speaker_encoder"
    assert conf("mingru", width=8) == {"width": 8}  # stage 3 has not run
    note.parent.mkdir()
    note.write_text("ge2e\n")
    assert conf("mingru", width=8) == {"width": 8}  # an older version's
    note.write_text("ge2e_robust 0123\n")
    named = {"speaker_encoder": "ge2e_robust", "speaker_digest": "0123"}
    assert conf("mingru", width=8) == {"width": 8, **named}
    assert conf("td_speakerbeam") == {}  # ESPnet's own
    clips = [["a"], ["s"], ["r"]]
    for dim, said in ((192, {"speaker_dim": 192}), (256, {})):
        vectors = EnrolmentVectors(*clips, np.eye(1, dim, dtype=np.float32))
        vectors.save(note.parents[1] / "vectors.npz")
        assert conf("mingru", width=8) == {"width": 8, **named, **said}
    assert conf("mingru", speaker_dim=7)["speaker_dim"] == 7
    with pytest.raises(UserError, match="'ge2e', but .*vectors of 'ge2e_robust'"):
        conf("mingru", speaker_encoder="ge2e")


def test_trunk_and_forks_follow_one_course_of_the_learning_rate(plan, tmp_path):
    uids = {f"u{index:02d}": "64000" for index in range(25)}
    for name in ("train", "train_noits"):
        write_table(tmp_path / "dump/raw" / name / "utt2num_samples", uids)
    shape = {"scheduler": "tristagelr", "scheduler_conf": {"hold_ratio": 0.6}}
    base = {**BASE, **shape, "batch_size": 10}
    plan = dataclasses.replace(plan, base=base)
    trunk = plan.trunk(0, epochs=3)
    alone = plan.student(METHODS["b2"], 0, forked=False)
    # 4 epochs of 25 // 10 batches, as ESPnet makes them.
    expected = {"hold_ratio": 0.6, "max_steps": 8}
    assert trunk.config["scheduler_conf"] == expected
    assert alone.config["scheduler_conf"] == expected
    cosine = {**BASE, "scheduler": "CosineAnnealingLR"}
    plan = dataclasses.replace(plan, base=cosine)
    assert plan.trunk(0, 3).config["scheduler_conf"] == {"T_max": 4}


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        ([], 20),
        (["batch_size=5"], 40),
        (["accum_grad=2"], 8),  # an epoch ends with a batch to spare
        (["batch_size=5", "accum_grad=2"], 20),
        (["scheduler_conf.max_steps=7"], 7),
    ],
)
def test_the_rate_runs_its_course_whatever_batch_and_accumulation(
    plan, tmp_path, overrides, steps
):
    uids = {f"u{index:02d}": "64000" for index in range(50)}
    write_table(tmp_path / "dump/raw/train/utt2num_samples", uids)
    base = {**BASE, "scheduler": "tristagelr", "batch_size": 10}
    plan = dataclasses.replace(plan, base=base, overrides=[*map(override, overrides)])
    config = plan.student(METHODS["b2"], 0, forked=False).config
    assert config["scheduler_conf"]["max_steps"] == steps


def test_batch_options_are_refused_where_the_schedule_cannot_see_them(tmp_path, capsys):
    path = tmp_path / "train_pse_x.yaml"
    path.write_text(yaml.safe_dump(BASE))
    for option in ("--batch_size 4", "--accum_grad=2", "--num_workers 0 --max_epoch 3"):
        with pytest.raises(SystemExit) as ended:
            train.main(["--config", str(path), "--check", f"--train_args={option}"])
        assert ended.value.code == 2
        assert "write --set" in capsys.readouterr().err
    train.main(["--config", str(path), "--check", "--train_args=--num_workers 0"])


@pytest.fixture
def mixing(plan, tmp_path):
    """A plan whose students mix for themselves."""
    options = dataclasses.asdict(SimulationOptions(seconds=6.0, its=0.2, ts2=0.4))
    folder = tmp_path / "dump"
    folder.mkdir(exist_ok=True)
    (folder / "simulation.json").write_text(
        json.dumps({"seed": 3, "sizes": {}, **options})
    )
    return dataclasses.replace(plan, samples=200, datadir=tmp_path / "data")


@pytest.mark.parametrize(("method", "its", "ts2"), [("b2", 0.2, 0.4), ("b1", 0.0, 0.6)])
def test_dynamic_mixing_follows_stage_2_and_the_method(mixing, method, its, ts2):
    config = mixing.student(METHODS[method], 0, forked=False).config
    conf = config["dynamic_mixing"]
    assert conf["samples"] == 200 and conf["seed"] == 3
    options = DynamicMixing(**conf).simulation
    found = (options.its, options.ts2, options.seconds)
    assert found == pytest.approx((its, ts2, 6.0))
    assert not any(key.startswith("train_data") for key in config)
    assert "train_shape_file" not in config and config["train_enroll_vectors"]
    with pytest.raises(UserError, match="method s asks the teacher"):
        mixing.student(METHODS["s"], 0, forked=False)


def test_dynamic_mixing_refuses_another_corpus_on_resuming(mixing, tmp_path):
    speech, noise = tmp_path / "data/train/speech", tmp_path / "data/train/noise"
    for folder, names in ((speech, ("wav.scp", "utt2spk")), (noise, ("wav.scp",))):
        for name in names:
            write_table(folder / name, {"a": "b"})
    for path in ("raw/dev/trials.jsonl", "raw/dev/enroll_id"):
        write_table(tmp_path / "dump" / path, {"a": "b"})
    for split in ("train", "dev"):
        write_table(tmp_path / "dump/enroll" / split / "vectors.npz", {"a": "b"})
    one = mixing.student(METHODS["b2"], 0, forked=False)
    assert training.prepare(one.exp, one.config) == "new"
    (one.exp / "1epoch.pth").write_text("")
    assert training.prepare(one.exp, one.config) == "resume"
    write_table(speech / "wav.scp", {"a": "c"})
    with pytest.raises(UserError, match="other data .*speech/wav.scp"):
        training.prepare(one.exp, one.config)
    more = dataclasses.replace(mixing, samples=300)
    other = more.student(METHODS["b2"], 0, forked=False)
    with pytest.raises(UserError, match="other options .*dynamic_mixing"):
        training.prepare(other.exp, other.config)


def test_gate_needs_a_finished_teacher_and_reads_window_vectors(plan, tmp_path):
    with pytest.raises(UserError, match="no trained teacher; run stage 4"):
        plan.student(METHODS["s"], 0, forked=False)
    teacher = plan.teacher_training(0)
    finish(teacher)
    plan = training.Plan(
        BASE, "x", tmp_path / "exp", tmp_path / "dump", teacher=teacher.exp
    )
    config = plan.student(METHODS["s"], 0, forked=False).config
    names = [name for _, name, _ in config["train_data_path_and_name_and_type"]]
    assert "window_vectors" in names
    assert config["teacher_model_file"].startswith(str(teacher.exp))


def test_fork_needs_a_finished_trunk_and_fewer_epochs(plan):
    trunk = plan.trunk(0, 2)
    assert trunk.config["max_epoch"] == 2
    with pytest.raises(UserError, match="the trunk is not trained"):
        plan.student(METHODS["b2"], 0, forked=True)
    finish(trunk)
    student = plan.student(METHODS["b2"], 0, forked=True)
    assert student.config["fork_checkpoint"] == str(trunk.exp / "checkpoint.pth")
    assert student.config["max_epoch"] == 4
    with pytest.raises(UserError, match="--trunk_epochs 4: give 1 to 3"):
        plan.trunk(0, 4)


def test_prepare_tells_new_from_begun_from_finished(plan):
    one = plan.student(METHODS["b2"], 0, forked=False)
    assert training.prepare(one.exp, one.config) == "new"
    assert training.prepare(one.exp, one.config) == "new"
    (one.exp / "checkpoint.pth").write_bytes(b"x")
    assert training.prepare(one.exp, one.config) == "resume"
    finish(one)
    assert training.prepare(one.exp, one.config) == "finished"


def test_prepare_refuses_other_options_and_other_data(plan, tmp_path):
    one = plan.student(METHODS["b2"], 0, forked=False)
    finish(one)
    before = (one.exp / training.CONFIG).read_text()
    with pytest.raises(UserError, match="other options .max_epoch: '4', now '5'"):
        training.prepare(one.exp, {**one.config, "max_epoch": 5})
    table = tmp_path / "dump/raw/train/trials.jsonl"
    table.write_text("{}\n" * 3)
    with pytest.raises(UserError, match="other data .*trials.jsonl: '0 lines.*3 lines"):
        training.prepare(one.exp, one.config)
    assert (one.exp / training.CONFIG).read_text() == before


def test_prepare_resumes_with_options_that_do_not_matter(plan):
    one = plan.student(METHODS["b2"], 0, forked=False)
    training.prepare(one.exp, one.config)
    (one.exp / "checkpoint.pth").write_bytes(b"x")
    assert training.prepare(one.exp, {**one.config, "num_workers": 3}) == "resume"
    assert yaml.safe_load((one.exp / training.CONFIG).read_text())["num_workers"] == 3


def test_prepare_names_missing_data(plan, tmp_path):
    (tmp_path / "dump/enroll/dev/vectors.npz").unlink()
    one = plan.student(METHODS["b2"], 0, forked=False)
    with pytest.raises(UserError, match="dev/vectors.npz: no such file"):
        training.prepare(one.exp, one.config)
    assert not one.exp.exists()


def test_constant_gate_reads_the_measured_mean(plan, tmp_path):
    teacher = tmp_path / "exp/pvad_x"
    teacher.mkdir(parents=True)
    plan = training.Plan(
        BASE, "x", tmp_path / "exp", tmp_path / "dump", teacher=teacher
    )
    with pytest.raises(UserError, match="gate.json: no such file"):
        plan.student(METHODS["c_constant"], 0, forked=False)
    counts = measured.counts(np.array([0.75]))
    found = json.dumps({"posteriors": {"nontarget_speech/all": counts}})
    (teacher / "gate.json").write_text(found)
    config = plan.student(METHODS["c_constant"], 0, forked=False).config
    assert config["gate_conf"]["constant"] == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("train_pse_e3net.yaml", "e3net"),
        ("train_pse.yaml", "default"),
        ("train_pvad_et.yaml", "et"),
        ("mine.yaml", "mine"),
    ],
)
def test_config_tag(name, tag):
    assert training.config_tag(Path("conf") / name) == tag


def test_progress_knows_the_time_left_after_an_epoch():
    shown = jobs.TrainingProgress("x")
    assert shown.feed("INFO: 1/4epoch started", 0.0) is None
    assert "known after the first" in shown.feed("1epoch:train:1-10batch: a=1", 20.0)
    line = shown.feed(
        "1epoch results: [train] loss=0.5, time=3, [valid] loss=0.7, acc=0.9, [a] b", 30
    )
    assert "epoch 1/4, train loss=0.5, valid loss=0.7 acc=0.9, 30 s, 90 s left" in line
    shown.feed("INFO: 2/4epoch started. Estimated time", 30.0)
    line = shown.feed("2epoch:train:1-5batch: a=1", 45.0)
    assert "epoch 2/4, batch 5, 45 s, 75 s left" in line


def test_progress_does_not_count_what_an_earlier_run_did():
    shown = jobs.TrainingProgress("x")
    shown.feed("INFO: 3/4epoch started", 0.0)
    assert "10 s left" in shown.feed("3epoch results: [train] loss=1", 10.0)


def test_run_records_time_and_failure(tmp_path, capfd):
    log = tmp_path / "train.log"
    script = f"echo 'error: x.wav: stereo; mix it down' >> {log}; exit 2"
    command = ["bash", "-c", script]
    assert jobs.run(tmp_path, log, command, {"seed": 1}) == 2
    assert "error: x.wav: stereo; mix it down" in capfd.readouterr().err
    assert json.loads((tmp_path / "run.json").read_text())["finished"] is False
    assert jobs.run(tmp_path, log, ["true"], {"seed": 1}) == 0
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["finished"] and record["runs"] == 2 and record["seed"] == 1


def test_run_refuses_a_folder_in_use(tmp_path):
    log = tmp_path / "train.log"
    command = [
        sys.executable,
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from espnet_pse_kd.recipe import jobs\n"
        "try: jobs.run(Path(sys.argv[2]), Path(sys.argv[3]), ['true'], {})\n"
        "except ValueError as e: print('error:', e, file=open(sys.argv[3], 'a'))\n"
        "else: sys.exit(7)",
    ]
    code = jobs.run(tmp_path, log, [*command, str(ROOT), str(tmp_path), str(log)], {})
    assert code == 0
    assert "another training writes into it" in log.read_text()


def test_every_yaml_of_conf_is_a_mapping():
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_only_the_package_s_own_checkout_gives_the_commit(tmp_path, monkeypatch):
    """Of a package that is installed below another repository, nothing is known."""
    package = tmp_path / "venv" / "espnet_pse_kd"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(checkout.espnet_pse_kd, "__file__", f"{package}/__init__.py")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for folder, known in ((tmp_path, False), (package.parent, True)):
        git = ["git", "-C", str(folder), *who]
        subprocess.run([*git, "init", "--quiet"], check=True)
        subprocess.run([*git, "commit", "--allow-empty", "-qm", "one"], check=True)
        assert bool(checkout.git_commit()) == known
        assert bool(checkout.git("rev-parse", "HEAD")) == known
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checkout.git_commit() is None
