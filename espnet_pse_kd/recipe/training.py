"""Trainings of teacher and students: configuration, folder, order."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from espnet_pse_kd import __version__
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.recipe import jobs
from espnet_pse_kd.recipe.gate_constant import gate_constant
from espnet_pse_kd.recipe.methods import Method, merge
from espnet_pse_kd.recipe.training_data import (
    data_options,
    fingerprints,
    input_files,
    mixing_options,
    other_files,
)
from espnet_pse_kd.recipe.vector_options import fit_vectors, name_encoder
from espnet_pse_kd.simulation.sets import its_set
from espnet_pse_kd.utils.checkout import git_commit
from espnet_pse_kd.utils.yamls import read_yaml

CONFIG = "train_config.yaml"
INPUTS = "inputs.json"
CHECKPOINT = "checkpoint.pth"
TEACHER_MODEL = "valid.loss.best.pth"

HARMLESS = frozenset(
    [
        "log_interval",
        "num_att_plot",
        "num_workers",
        "resume",
        "use_matplotlib",
        "use_tensorboard",
    ]
)
"""Options that may change between two runs of a training: they do not affect it."""


def config_tag(path: Path) -> str:
    """What folder names call a YAML: ``train_pse_x.yaml`` is ``x``."""
    return re.sub(r"^(train_)?(pse|pvad)?_?", "", path.stem) or "default"


def folder_of(expdir: Path, tag: str, name: str, seed: int) -> Path:
    """Folder of the training ``name``: a method, ``trunk`` or ``pvad``."""
    if name == "pvad":
        return expdir / f"pvad_{tag}"
    return expdir / f"pse_{tag}_{name}_seed{seed}"


def teacher_options(teacher: Path | None) -> dict[str, Any]:
    """ESPnet's options that name the teacher of a student's gate.

    Raises:
        UserError: there is no trained teacher.
    """
    if teacher is None or not is_finished(teacher):
        raise UserError(f"{teacher}: no trained teacher; run stage 4 first")
    return {
        "teacher_train_config": str(teacher / "config.yaml"),
        "teacher_model_file": str(teacher / TEACHER_MODEL),
    }


def fork_options(trunk: Path) -> dict[str, Any]:
    """ESPnet's options for a training that continues from another's last state.

    Raises:
        UserError: the trunk is not finished.
    """
    if not is_finished(trunk):
        raise UserError(f"{trunk}: the trunk is not trained; run stage 5 again")
    return {"fork_checkpoint": str(trunk / CHECKPOINT)}


def prepare(exp: Path, config: Mapping[str, Any]) -> str:
    """Lay a training's configuration down, or compare it with the one that is there.

    Args:
        exp: folder of the training.
        config: complete options of the training.

    Returns:
        "new", "resume" (begun, not finished) or "finished".

    Raises:
        UserError: the folder holds a training with another configuration or of other
            data; it is never overwritten.
    """
    inputs = fingerprints(input_files(config))
    begun = any(exp.glob("*.pth"))
    if begun:
        before, now = read_yaml(exp / CONFIG), dict(config)
        keys = {*before, *now} - HARMLESS
        other = sorted(k for k in keys if before.get(k) != now.get(k))
        _compare(exp, "options", other, before, now)
        known = json.loads((exp / INPUTS).read_text())
        _compare(exp, "data", other_files(known, inputs), known, inputs)
        if is_finished(exp):
            return "finished"
    with atomic_open(exp / CONFIG) as file:
        yaml.safe_dump(dict(config), file, sort_keys=False, allow_unicode=True)
    if begun:
        return "resume"
    with atomic_open(exp / INPUTS) as file:
        json.dump(inputs, file, indent=1)
    return "new"


def steps_per_epoch(config: Mapping[str, Any]) -> int:
    """Updates in an epoch of a training; 1 while its data are missing.

    Before stage 2 options are checked without data.
    """
    batch, accumulated = config.get("batch_size", 20), config.get("accum_grad", 1)
    if mixing := config.get("dynamic_mixing"):
        samples = int(mixing["samples"])
    else:
        shape = Path(config["train_shape_file"][0])
        samples = len(read_table(shape)) if shape.is_file() else 0
    return max(1, samples // int(batch) // int(accumulated))


def schedule(config: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Options by which the learning rate runs its whole course in ``epochs`` epochs.

    Whatever batch size and accumulation are: the course is one over samples.
    """
    scheduler = str(config.get("scheduler")).lower()
    if scheduler == "cosineannealinglr":
        return {"scheduler_conf": {"T_max": epochs}}
    if scheduler == "tristagelr":
        return {"scheduler_conf": {"max_steps": epochs * steps_per_epoch(config)}}
    return {}


def is_finished(exp: Path) -> bool:
    """Whether ``run.json``, which `jobs.run` writes, says that the training ended."""
    record = exp / "run.json"
    return record.is_file() and bool(json.loads(record.read_text())["finished"])


def _compare(
    exp: Path,
    what: str,
    changed: Sequence[str],
    before: Mapping[str, Any],
    now: Mapping[str, Any],
) -> None:
    """Raise `UserError` where there are ``changed`` keys; it names the first."""
    for key in changed:
        raise UserError(
            f"{exp}: it was trained with other {what} ({key}: "
            f"{str(before.get(key))[:60]!r}, now {str(now.get(key))[:60]!r}); remove "
            "the folder, or give another --expdir"
        )


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        exp: its folder.
        program: module that trains.
        config: complete options.
        record: what ``run.json`` is to say of it.
        threads: CPU threads that speed it up; the LSTM steps of a pVAD are too small
            to be shared, two threads make it slower.
    """

    exp: Path
    program: str
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    threads: int = 64


@dataclass(frozen=True)
class Backend:
    """How trainings are started.

    Attributes:
        command: one of ``cmd.sh``, with its resource options.
        arguments: further options of every training.
        parallel: how many run at the same time; they share the cores.
    """

    command: Sequence[str]
    arguments: Sequence[str] = ()
    parallel: int = 1


@dataclass(frozen=True)
class Plan:
    """What the trainings of a recipe have in common.

    Attributes:
        base: base YAML.
        tag: its name in folder names.
        overrides: laid over everything else.
        expdir, dumpdir: folders of trainings and of data.
        train_set, valid_set: with inactive-target samples; a method may ask for
            less of them, see `its_set`.
        max_epoch: None for the base YAML's.
        teacher: folder of the trained pVAD.
        samples: per epoch, where the students mix for themselves; 0 where they read
            ``train_set``.
        datadir: what they then mix from, written by stage 1.
    """

    base: Mapping[str, Any]
    tag: str
    expdir: Path
    dumpdir: Path
    train_set: str = "train"
    valid_set: str = "dev"
    max_epoch: int | None = None
    teacher: Path | None = None
    overrides: Sequence[Mapping[str, Any]] = field(default_factory=list)
    samples: int = 0
    datadir: Path = Path("data")

    @property
    def epochs(self) -> int:
        """Epochs of a finished training."""
        return self.max_epoch or int(self.base.get("max_epoch", 40))

    def teacher_training(self, seed: int) -> Training:
        """The personal VAD's training."""
        data = data_options(self.dumpdir, self.train_set, self.valid_set, True)
        return self._training("pvad", None, seed, self.epochs, data)

    def trunk(self, seed: int, epochs: int) -> Training:
        """The first ``epochs`` epochs, which all methods share: those of ``b1``.

        Raises:
            UserError: they leave no epoch for the methods.
        """
        if not 0 < epochs < self.epochs:
            raise UserError(
                f"--trunk_epochs {epochs}: give 1 to {self.epochs - 1}, below the "
                "students' number of epochs"
            )
        b1 = Method("b1", "the base YAML, without inactive-target samples", its=False)
        return self._training("trunk", b1, seed, epochs, self._student_data(b1))

    def student(self, method: Method, seed: int, forked: bool) -> Training:
        """One method's training; if ``forked``, it continues from the trunk.

        A method that says ``from_scratch`` never does.
        """
        options = self._student_data(method)
        if forked and not method.from_scratch:
            options |= fork_options(folder_of(self.expdir, self.tag, "trunk", seed))
        return self._training(method.name, method, seed, self.epochs, options)

    def _student_data(self, method: Method) -> dict[str, Any]:
        if self.samples:
            if method.teacher:
                raise UserError(
                    f"--dynamic_mixing: method {method.name} asks the teacher, whose "
                    "window vectors are cached for a fixed training set; leave it out"
                )
            valid = its_set(self.valid_set, bool(method.its))
            return data_options(self.dumpdir, None, valid, False) | {
                "dynamic_mixing": mixing_options(
                    self.dumpdir, self.datadir, self.samples, method.its
                )
            }
        options = data_options(
            self.dumpdir,
            its_set(self.train_set, method.its),
            its_set(self.valid_set, method.its),
            method.teacher,
        )
        if method.teacher:
            options |= teacher_options(self.teacher)
        return options

    def _training(
        self,
        name: str,
        method: Method | None,
        seed: int,
        epochs: int,
        options: Mapping[str, Any],
    ) -> Training:
        config = merge(self.base, method.options if method else {})
        config = self._with_constant(config)
        config |= {**options, "seed": seed, "max_epoch": epochs}
        config = self._overridden(config)
        # One course of the learning rate over a whole training: the trunk is its
        # first part. An override has the last word on it, too.
        config = self._overridden(merge(config, schedule(config, self.epochs)))
        if method:
            name_encoder(config)
        fit_vectors(config)
        return Training(
            folder_of(self.expdir, self.tag, name, seed),
            "espnet_pse_kd.bin." + ("pse_train" if method else "pvad_train"),
            config,
            {"method": name, "config": self.tag, "seed": seed},
            **({} if method else {"threads": 1}),
        )

    def _with_constant(self, config: dict[str, Any]) -> dict[str, Any]:
        """The weight of a gate without timing, by the overridden kappa and frames."""
        gate = self._overridden(config).get("gate_conf", {})
        if gate.get("mode") != "constant" or "constant" in gate:
            return config
        constant = gate_constant(self.teacher, gate)
        return merge(config, {"gate_conf": {"constant": constant}})

    def _overridden(self, config: Mapping[str, Any]) -> dict[str, Any]:
        result = dict(config)
        for override in self.overrides:
            result = merge(result, override)
        return result


def run_all(trainings: Sequence[Training], backend: Backend) -> None:
    """Run trainings that are not finished; all are checked before the first starts.

    Raises:
        UserError: see `prepare`; or a training failed.
    """
    waiting = []
    for one in trainings:
        state = prepare(one.exp, one.config)
        said = {"new": "train", "resume": "resume"}.get(state, "finished, kept")
        origin = one.config.get("fork_checkpoint")
        fork = f" (from {Path(origin).parent.name})" if origin else ""
        print(f"{one.exp.name}: {said}{fork}", file=sys.stderr, flush=True)
        if state != "finished":
            waiting.append(one)
    parallel = max(1, min(backend.parallel, len(waiting)))
    threads = max(1, len(os.sched_getaffinity(0)) // parallel)
    with ThreadPoolExecutor(parallel) as pool:
        codes = list(pool.map(lambda one: _run(one, backend, threads), waiting))
    failed = [one.exp for one, code in zip(waiting, codes) if code]
    if failed:
        raise UserError(f"{failed[0]}: the training failed, see {failed[0]}/train.log")


def _run(one: Training, backend: Backend, threads: int) -> int:
    log = one.exp / "train.log"
    command = [
        *backend.command,
        str(log),
        *("env", f"OMP_NUM_THREADS={min(threads, one.threads)}"),
        # As in path.sh, for who calls this without it.
        "OMP_WAIT_POLICY=PASSIVE",
        *(sys.executable, "-m", one.program),
        *("--config", str(one.exp / CONFIG), "--output_dir", str(one.exp)),
        *("--resume", "true", *backend.arguments),
    ]
    record = {**one.record, "version": __version__, "commit": git_commit()}
    return jobs.run(one.exp, log, command, record)
