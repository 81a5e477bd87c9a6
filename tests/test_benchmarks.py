"""The benchmark: logs, tables, bars, and a dry run of it on a tiny network."""

import importlib
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import exported
import numpy as np
import pytest
import torch
import yaml
from test_nets import SMALL

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.nets import NETWORKS as CLASSES
from espnet_pse_kd.utils.yamls import read_config

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is no part of the installed package


def module(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


environments, networks, ours = map(module, ("environments", "networks", "ours"))
processes, report, rows, run = map(module, ("processes", "report", "rows", "run"))
summary, trainlog, worker = map(module, ("summary", "trainlog", "worker"))

FP32, WHOLE = rows.FP32, rows.PYTORCH_WHOLE


def log_line(span: str, **times: float) -> str:
    values = {"loss": 0.3, "clip": 0.0, **times}
    text = ", ".join(f"{key}={value:.3f}" for key, value in values.items())
    return f"[vm] 2026-11-22 15:09:50,960 (trainer:810) INFO: {span}batch: {text}"


def test_log_is_weighted_by_batches(tmp_path: Path) -> None:
    work = {"forward_time": 0.2, "backward_time": 0.2, "optim_step_time": 0.1}
    slow = dict.fromkeys(work, 0.1)
    lines = [
        "[vm] 2026-11-22 15:08:42,245 (abs_task:1) INFO: Epoch 1",
        log_line("1epoch:train:1-30", iter_time=0.01, **work, train_time=0.6),
        log_line("2epoch:train:31-40", iter_time=0.5, **slow, train_time=1.2),
        log_line("2epoch:valid:1-40", iter_time=9.0, **work, train_time=99.0),
        "2epoch:train:41-50batch: iter_time=0.1, forw",  # killed while it wrote
    ]
    log = tmp_path / "train.log"
    log.write_text("\n".join(lines))
    found = trainlog.shares(log)
    whole = 30 * 0.6 + 10 * 1.2
    assert found["batches"] == 40
    assert found["forward_time"] == pytest.approx((30 * 0.2 + 10 * 0.1) / whole)
    assert found["iter_time"] == pytest.approx((30 * 0.01 + 10 * 0.5) / whole)
    assert found["outside"] == pytest.approx((30 * 0.1 + 10 * 0.9) / whole)


def test_log_without_batches_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    with pytest.raises(UserError, match=r"train\.log: No such file.*stage 5"):
        trainlog.shares(log)
    log.write_text("INFO: nothing yet\n")
    with pytest.raises(UserError, match=r"train\.log: no line of training batches"):
        trainlog.shares(log)


class Fake:
    """A subject that notes when it is asked, and may die."""

    def __init__(self, name: str, asked: list[str], dies_at: float = math.inf) -> None:
        self.name, self.asked, self.left = name, asked, dies_at

    def ask(self, seconds: float) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0:
            raise environments.Unavailable("out of memory")
        self.asked.append(self.name)
        return {"calls": [0.1, 0.3], "peak_mib": 5.0}

    def facts(self) -> dict[str, Any]:
        return {"parameters": 7}

    def close(self) -> None:
        self.asked.append(f"{self.name} closed")


def fake_row(name: str, asked: list[str], dies_at: float = math.inf) -> Any:
    return rows.Row("audio", name, "", lambda: Fake(name, asked, dies_at))


def test_each_round_asks_each_row_once_in_an_order_of_its_own() -> None:
    asked: list[str] = []
    run.measure([fake_row(name, asked) for name in "abcdef"], 2.0, rounds=8)
    # The first six calls warm up; the last six close.
    rounds = np.array(asked[6:-6]).reshape(8, 6)
    assert all(sorted(one) == list("abcdef") for one in rounds)
    assert len({tuple(one) for one in rounds}) > 4


def test_a_row_that_dies_says_why_and_stops_no_other() -> None:
    asked: list[str] = []
    dying, well = run.measure(
        [fake_row("a", asked, dies_at=2), fake_row("b", asked)], 2.0, rounds=3
    )
    assert dying["error"] == "out of memory"
    assert "error" not in well
    assert well["rtf"] == pytest.approx([0.2] * 3)
    assert well["hop_ms"]["p50"] == pytest.approx(200.0)
    assert well["facts"] == {"parameters": 7}
    assert asked[-2:] == ["b closed", "a closed"]


def audio(name: str, runtime: str, rtf: list[float], **more: Any) -> dict[str, Any]:
    entry = {"kind": "audio", "name": name, "runtime": runtime, "weights": "seeded"}
    return entry | {"facts": {}, "rtf": rtf, "peak_mib": 100.0} | more


def training(name: str, **times: list[float]) -> dict[str, Any]:
    facts = {"batch": 4, "seconds": 2.0}
    entry = {"kind": "training", "name": name, "runtime": "", "facts": facts}
    return entry | {"peak_mib": 900.0} | times


@pytest.fixture
def data() -> dict[str, Any]:
    """A run in which the machine was twice as slow in the second round."""
    facts = {"parameters": 8e5, "macs_per_second": 8e7, "latency_ms": 20, "hop_ms": 10}
    hop = {"p50": 0.3, "p95": 0.4, "p99": 11.0}
    step = {"calls": [1.0, 2.0], "teacher": [0.1, 0.4], "windows": [1.0, 2.0]}
    return {
        "command": "make bench",
        "commit": "abc",
        "date": "2026-01-01",
        "machine": {
            "cpu": "x",
            "cores": 2,
            "memory_gib": 4,
            "system": "s",
            "python": "3.12",
            "packages": {"torch": "2"},
            "load_before": 0.0,
        },
        "quick": False,
        "rounds": 2,
        "seconds": 10.0,
        "rows": [
            audio("mingru", WHOLE, [0.01, 0.02], facts=facts),
            audio("mingru", FP32, [0.03, 0.06], hop_ms=hop),
            audio(rows.SPEAKERBEAM, WHOLE, [0.3, 0.3]),
            audio("GTCRN", FP32, [], error="no a|b wheel"),
            training("mingru", **step),
            {"kind": "start", "name": rows.IMPORT, "runtime": "", "calls": [0.3, 0.1]},
        ],
        "train_logs": [],
    }


def test_ratios_are_taken_within_a_round(data: dict[str, Any]) -> None:
    results = summary.Results(data)
    assert results.times_faster("mingru", FP32) == pytest.approx((10 + 5) / 2)
    assert results.times_faster("GTCRN", FP32) is None
    found = results.training("mingru")
    assert found.teacher == pytest.approx((0.1 + 0.2) / 2)
    assert found.teacher_uncached == pytest.approx((1.1 / 2 + 2.4 / 4) / 2)
    assert found.audio_hours_per_hour == pytest.approx(8 / 1.5)


def test_bars(data: dict[str, Any]) -> None:
    bars = {bar.what: bar for bar in summary.Results(data).bars()}
    rtf = bars[f"mingru, {FP32}: RTF"]
    assert (rtf.value, rtf.met) == (pytest.approx(0.045), True)
    hop = bars[f"mingru, {FP32}: p99 of a hop"]
    assert (hop.value, hop.limit, hop.met) == (11.0, 10, False)
    faster = bars[f"mingru, {FP32}: times faster than TD-SpeakerBeam's whole pass"]
    assert (faster.met, faster._replace(value=4.9).met) == (True, False)
    assert bars["mingru: algorithmic latency"].met
    assert bars[f"e3net, {FP32}: RTF"].met is None
    assert bars["`import espnet_pse_kd`"].met
    assert bars["mingru: teacher's share of a step"].value == pytest.approx(15.0)


def test_page(data: dict[str, Any], tmp_path: Path) -> None:
    data["train_logs"] = [
        {"log": "x/train.log", "batches": 9, "outside": 0.123, "iter_time": 0.01}
        | dict.fromkeys(trainlog.WORK, 0.3)
    ]
    path = tmp_path / "docs/page.md"
    report.write_page(data, path)
    page, plot = path.read_text(), path.with_suffix(".svg").read_text()
    assert f"{FP32} | 0.0450 (0.0300 to 0.0600) | 0.3 | 0.4 | 11 | 7.5 |" in page
    assert "`no a\\|b wheel`" in page
    assert "worst log | 12.3 % | at most 10 % | **missed** |" in page
    assert "x/train.log | 9 | 30.0 % | 30.0 % | 30.0 % | 12.3 % | 1.0 % |" in page
    assert "(page.svg)" in page and "mingru: " in plot
    assert "not how fast" not in page
    report.write_page(data | {"quick": True}, path)
    assert "not how fast" in path.read_text()
    assert path.with_suffix(".svg").read_text() == plot


def test_dry_run(tmp_path: Path) -> None:
    """Two seconds of a tiny network in a worker, beside a model that is none."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")

    def row(name: str, path: Path) -> Any:
        command = ["benchmarks.ours", "onnx", name, "--onnx", str(path)]
        start = lambda: processes.Worker(sys.executable, command)  # noqa: E731
        return rows.Row("audio", name, FP32, start, {"weights": "seeded"})

    good, bad = run.measure(
        [row("e3net", exported.student("e3net")), row("x", broken)], 1.0, rounds=2
    )
    assert len(good["rtf"]) == 2 and min(good["rtf"]) > 0
    assert 0 < good["hop_ms"]["p50"] <= good["hop_ms"]["p99"]
    assert 20 < good["peak_mib"] < 200  # neither torch nor ESPnet
    assert "broken.onnx: truncated, or no ONNX file" in bad["error"]
    assert json.loads(json.dumps(good)) == good


@pytest.mark.parametrize("name", CLASSES)
def test_one_call_for_the_whole_or_for_each_hop(name: str) -> None:
    network = CLASSES[name](**SMALL[name][0]).eval()
    samples = worker.signal(0.5, SAMPLE_RATE)
    assert len([*ours.whole(network)(samples)]) == 1
    assert len([*ours.step(network)(samples)]) == len(samples) // network.hop
    said = ours.facts(network)
    assert said["parameters"] == networks.size(network) and said["macs_per_second"] > 0
    assert said["latency_ms"] == 1e3 * network.latency / SAMPLE_RATE


def test_step_of_training_times_its_parts(tmp_path: Path) -> None:
    steps, path = module("training"), tmp_path / "tiny.yaml"
    config = read_config(networks.config_of("mingru"))
    path.write_text(yaml.safe_dump(config | {"extractor_conf": SMALL["mingru"][0]}))
    batch = steps.batch_of(2, 1.0)
    step = steps.step_of(steps.build(path), batch, lr=1e-3, clip=5.0)
    for _ in range(2):
        measured = {key: value for key, [value] in step().items()}
        assert 0 < measured["teacher"] < measured["calls"]
        assert measured["windows"] > 0


def test_signal_is_the_same_and_never_silent() -> None:
    samples = worker.signal(2.0, SAMPLE_RATE)
    np.testing.assert_array_equal(samples, worker.signal(2.0, SAMPLE_RATE))
    levels = np.square(worker.hops(samples, 320)).mean(1)
    assert samples.dtype == np.float32 and len(samples) == 2 * SAMPLE_RATE
    assert levels.min() > 1e-7 and levels.max() / levels.min() > 5
    assert worker.hops(samples, 7).size == len(samples) // 7 * 7


def test_every_row_is_there_once(tmp_path: Path) -> None:
    found = rows.all_rows(rows.Options(folder=tmp_path))
    labels = [(row.kind, row.label) for row in found]
    assert len(set(labels)) == len(labels)
    for tag in networks.NETWORKS:
        assert sum(row.name == tag for row in found) == 5  # four runtimes, training
    for peer in environments.PEERS.values():
        assert (environments.REQUIREMENTS / f"{peer.name}.txt").is_file()
        assert (ROOT / f"benchmarks/peers/{peer.name}.py").is_file()
        assert any(row.name == peer.title for row in found)
    only = rows.all_rows(rows.Options(folder=tmp_path, only=["mingru", "start"]))
    assert {row.name for row in only} == {
        *("mingru", rows.IMPORT, rows.HELP, rows.ENHANCE)
    }


def test_peer_that_does_not_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installer's words, on one line."""
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho progress >&2\necho 'error: no wheel' >&2\nexit 1\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(environments, "ENVS", tmp_path / "envs")
    options = rows.Options(folder=tmp_path, only=["deepfilternet"])
    [record] = run.measure(rows.all_rows(options), 1.0, rounds=1)
    assert record["error"] == "progress error: no wheel"
    assert "rtf" not in record


def test_command_has_no_paths_of_this_machine() -> None:
    words = ["--quick", "--peer-source", "/tmp/peers", "--model", "mingru=/a/b/x.zip"]
    told = run.told_command([*words, "--page", str(ROOT / "docs/x.md")])
    assert told.startswith("make bench 'BENCH=--quick --peer-source peers --model ")
    assert told.endswith("mingru=x.zip --page docs/x.md'")
    assert run.told_command([]) == "make bench"


def test_reason_of_a_failure_is_one_line() -> None:
    trace = "noise\nTraceback (most recent call last):\n  File x\n    y\n    ^^\nE: z\n"
    assert environments.reason(trace) == "E: z"
    assert environments.reason("error: a\n  cause: b\n") == "error: a cause: b"
    assert environments.reason("\n") == "it ended without a word"


def test_trainings_are_measured_one_by_one(tmp_path: Path) -> None:
    together, *alone = run._groups(rows.all_rows(rows.Options(folder=tmp_path)))
    assert {row.kind for row in together} == {"audio", "start"}
    assert [[row.name for row in one] for one in alone] == [
        [tag] for tag in networks.NETWORKS
    ]


def test_commit_of_a_checkout_is_its_own(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    inside = tmp_path / "inside"
    inside.mkdir()
    peer = environments.Peer("x", "X", "numpy", "https://example.org/x", "f00")

    def told(source: Path | None) -> str:
        return environments.version_of(peer, Path(sys.executable), source)

    assert told(None) == f"numpy {np.__version__}"
    assert told(inside) == f"commit unknown, numpy {np.__version__}"
    assert "unknown" not in told(tmp_path)


def test_model_of_another_tag_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CLASSES["mingru"](**SMALL["mingru"][0])
    config = {"extractor": "mingru", "extractor_conf": SMALL["mingru"][0]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    state = {f"extractor.network.{k}": v for k, v in network.state_dict().items()}
    torch.save(state, tmp_path / "valid.loss.best.pth")
    with pytest.raises(UserError, match="another network than mingru"):
        networks.load("mingru", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nobody"], "--only"),
        (["--model", "unet=x.zip"], "give TAG=PATH with one of mingru"),
        (["--model", "mingru=nowhere.zip"], "nowhere.zip: No such file"),
        (["--seconds", "0.1"], "half a second"),
        (["--rounds", "0"], "at least one round"),
        (["--peer-source", "nowhere"], "no such folder; give one with checkouts"),
        (["--train-log", "nowhere.log"], "nowhere.log: No such file"),
    ],
)
def test_bad_options(arguments: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run.main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
