"""Training by two processes, as on two GPUs: here on the CPU, joined by gloo."""

from __future__ import annotations

import multiprocessing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from mixing_fixture import prepare, vectors_of
from test_espnet import dump, pse_options  # noqa: F401  # a fixture

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.mixing import MixtureIterFactory
from espnet_pse_kd.espnet.tasks import PSETask
from espnet_pse_kd.espnet.trainer import ResumableTrainer
from espnet_pse_kd.simulation.dynamic import DynamicMixing, MixtureDataset

SAMPLES, BATCH = 12, 4


def train(rank: int, command: list[str], output: Path) -> None:
    """One process of a training; what it saw and learnt is written to ``output``."""
    torch.set_num_threads(1)
    seen: list[str] = []
    sample, epoch = MixtureDataset.__getitem__, ResumableTrainer.train_one_epoch

    def recorded(self: MixtureDataset, number: int) -> tuple[str, dict]:
        name, data = sample(self, number)
        seen.append(name)
        return name, data

    def kept(*args: Any, **kwargs: Any) -> bool:
        result = epoch(*args, **kwargs)
        model = getattr(kwargs["model"], "module", kwargs["model"])
        steps = kwargs["schedulers"][0].last_epoch
        found = {"seen": seen, "steps": steps, "model": model.state_dict()}
        torch.save(found, output)
        return result

    MixtureDataset.__getitem__ = recorded  # type: ignore[method-assign]
    ResumableTrainer.train_one_epoch = staticmethod(kept)  # type: ignore[assignment]
    PSETask.main(cmd=command)


def run(ranks: int, command: list[str], folder: Path) -> list[dict[str, Any]]:
    """What each of so many processes saw and learnt."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["espnet_pse_kd.espnet.tasks"])
    processes, outputs = [], []
    for rank in range(ranks):
        more = []
        if ranks > 1:
            more = ["--dist_world_size", str(ranks), "--dist_rank", str(rank)]
            more += ["--dist_backend", "gloo", "--dist_init_method"]
            more += [f"file://{folder}/meeting_point"]
        outputs.append(folder / f"rank{rank}.pt")
        arguments = (rank, [*command, *more], outputs[-1])
        processes.append(context.Process(target=train, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(400)
        assert process.exitcode == 0
    return [torch.load(path, weights_only=True) for path in outputs]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> DynamicMixing:
    options = {"clips_per_speaker": 2, "clip_seconds": [2.0, 3.0], "seconds": 3.5}
    data = prepare(tmp_path_factory.mktemp("corpus"))
    return DynamicMixing(data=str(data), samples=SAMPLES, seed=3, options=options)


def test_ranks_share_mixtures_and_learn_the_same(
    conf: DynamicMixing,
    dump: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    vectors = tmp_path / "vectors.npz"
    vectors_of(conf, 256).save(vectors)
    options = {
        "dynamic_mixing": asdict(conf),
        "train_enroll_vectors": str(vectors),
        "batch_size": BATCH,
        "max_epoch": 1,
        "optim": "sgd",
        "optim_conf": {"lr": 1.0},
        "scheduler": "tristagelr",
        "scheduler_conf": {"max_steps": SAMPLES // BATCH},
    }
    found = {}
    for ranks in (1, 2):
        folder = tmp_path / str(ranks)
        command = pse_options(dump, folder / "exp", **options)
        found[ranks] = run(ranks, command, folder)
    [alone], (first, second) = found[1], found[2]
    assert not set(first["seen"]) & set(second["seen"])
    assert sorted(first["seen"] + second["seen"]) == sorted(alone["seen"])
    assert len(set(alone["seen"])) == SAMPLES
    # A step is one of all ranks: so many as one process would make.
    assert first["steps"] == second["steps"] == alone["steps"] == SAMPLES // BATCH
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
        torch.testing.assert_close(value, alone["model"][name], atol=1e-5, rtol=1e-4)
    # The first rank alone writes.
    assert (tmp_path / "2/exp/valid.loss.best.pth").is_file()


def test_a_batch_holds_a_sample_for_each_rank(
    conf: DynamicMixing, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixtures = MixtureDataset(conf, vectors_of(conf))
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    with pytest.raises(UserError, match="--batch_size 3: it is shared by 4 processes"):
        MixtureIterFactory(mixtures, 3, lambda batch: batch, is_distributed=True)
