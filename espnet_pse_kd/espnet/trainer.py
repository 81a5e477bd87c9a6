"""ESPnet's trainer, made safe against being killed at any moment, with examples.

ESPnet writes ``checkpoint.pth`` in place. A process that is killed while it writes
leaves half a file, from which nothing resumes, or a checkpoint whose model file and
links are missing. We keep the checkpoint before, and mend the folder before training.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter, SubReporter
from espnet2.train.trainer import Trainer

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.divergence import LossWatch, check_finite
from espnet_pse_kd.espnet.examples import FixedSamples, is_due, write_examples
from espnet_pse_kd.optim import MuonAdamW

_COURSE = ("max_steps", "warmup_steps", "hold_steps", "decay_steps", "decay_factor")
"""State of ESPnet's ``tristagelr`` that its options decide, not its steps."""

Criterion = Sequence[str]
"""(phase, key, mode), an entry of ESPnet's ``best_model_criterion``."""


class ResumableTrainer(Trainer):
    """Keeps the last complete checkpoint while ESPnet writes the next one.

    A training that diverges is stopped before it writes another, see `LossWatch`.
    """

    _watch = LossWatch()
    _criterions: tuple[float, ...] = ()

    @classmethod
    def run(cls, *args: Any, **kwargs: Any) -> None:
        """Train as ESPnet does; a process runs one training at a time."""
        cls._watch = LossWatch()
        super().run(*args, **kwargs)

    @classmethod
    def train_one_epoch(cls, *args: Any, **kwargs: Any) -> bool:
        """Copy the checkpoint aside, then train as ESPnet does.

        What is validated and saved as the model is the optimizer's average of the
        parameters, where it keeps one.
        """
        options = kwargs["options"]
        if _is_first(kwargs["distributed_option"]):
            folder = Path(options.output_dir)
            if (folder / "checkpoint.pth").exists():
                _replace(folder / "checkpoint.previous.pth", _copy_of(folder))
        model = getattr(kwargs["model"], "module", kwargs["model"])  # in DDP
        model.progress = (kwargs["reporter"].epoch - 1) / options.max_epoch
        if (criterions := _presence(model)) != cls._criterions:
            cls._criterions, cls._watch = criterions, LossWatch()
        _tell(kwargs["reporter"], cls._watch.see)
        averaging = [o for o in kwargs["optimizers"] if isinstance(o, MuonAdamW)]
        for optimizer in averaging:
            optimizer.use_latest()
        result = super().train_one_epoch(*args, **kwargs)
        for optimizer in averaging:
            optimizer.use_average()
        return result

    @classmethod
    def validate_one_epoch(cls, *args: Any, **kwargs: Any) -> None:
        """Validate as ESPnet does, then show a few samples in TensorBoard."""
        kwargs["iterator"] = samples = FixedSamples(kwargs["iterator"])
        _tell(kwargs["reporter"], lambda loss: check_finite(loss, "validation loss"))
        super().validate_one_epoch(*args, **kwargs)
        options, epoch = kwargs["options"], kwargs["reporter"].get_epoch()
        wanted = options.use_tensorboard and is_due(epoch, options.max_epoch)
        if wanted and samples.kept and _is_first(kwargs["distributed_option"]):
            model = getattr(kwargs["model"], "module", kwargs["model"])  # in DDP
            folder = Path(options.output_dir) / "tensorboard" / "valid"
            write_examples(model, samples.kept, folder, epoch)


def _presence(model: Any) -> tuple[float, ...]:
    """Parts of their weights with which the model's criterions act in this epoch.

    Where they change, losses cannot be compared with those before.
    """
    wrappers = [
        w for w in getattr(model, "loss_wrappers", ()) if hasattr(w, "presence")
    ]
    return tuple(one.presence(model.progress) for one in wrappers)


def _tell(reporter: SubReporter, watch: Callable[[float], None]) -> None:
    """Let ``watch`` see every loss, averaged over all ranks, before it is used."""
    register = reporter.register

    def seen(stats: dict[str, Any], weight: Any = None) -> None:
        if "loss" in stats:
            watch(float(stats["loss"]))
        register(stats, weight)

    reporter.register = seen


def _is_first(distributed: DistributedOption) -> bool:
    """Whether this process writes files."""
    return not distributed.distributed or distributed.dist_rank == 0


def mend(folder: Path, criteria: Sequence[Criterion]) -> None:
    """Bring an experiment folder to the state after its last complete epoch.

    Args:
        folder: ``--output_dir``; need not exist.
        criteria: ``--best_model_criterion``.
    """
    states = _load(folder / "checkpoint.pth")
    if states is None:
        states = _load(folder / "checkpoint.previous.pth")
        if states is None:
            (folder / "checkpoint.pth").unlink(missing_ok=True)
            return
        logging.warning(f"{folder}/checkpoint.pth is damaged: one epoch further back")
        _save(folder / "checkpoint.pth", states)
    reporter = Reporter()
    reporter.load_state_dict(states["reporter"])
    epoch = reporter.get_epoch()
    if _load(folder / f"{epoch}epoch.pth") is None:
        _save(folder / f"{epoch}epoch.pth", states["model"])
    _link(folder / "latest.pth", epoch)
    for phase, key, mode in criteria:
        if reporter.has(phase, key):
            best = reporter.get_best_epoch(phase, key, mode)
            _link(folder / f"{phase}.{key}.best.pth", best)


def fork(trunk: Path, folder: Path) -> None:
    """Let ``folder`` continue from another training's checkpoint, unless it has begun.

    Parameters, optimizer, the schedulers' steps and the epoch count are the trunk's.
    Its scores are left out: the best epoch is to be one of this training. So is the
    length of its schedule: a trunk that was planned for longer, its learning rate
    still held, can be brought to an end by a fork, and one that has ended go on from a
    checkpoint that was kept.

    Raises:
        UserError: the trunk's checkpoint is missing or damaged.
    """
    if (folder / "checkpoint.pth").exists():
        return
    states = _load(trunk)
    if states is None or "reporter" not in states:
        raise UserError(
            f"--fork_checkpoint {trunk}: no complete checkpoint; train the trunk first"
        )
    states["reporter"]["stats"] = {}
    for scheduler in states["schedulers"]:
        for key in _COURSE:
            (scheduler or {}).pop(key, None)
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "checkpoint.pth", states)


def _load(path: Path) -> dict[str, Any] | None:
    """Contents of a file written by ``torch.save``, None if missing or damaged."""
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        return None


def _save(path: Path, states: dict[str, Any]) -> None:
    _replace(path, lambda temporary: torch.save(states, temporary))


def _copy_of(folder: Path) -> Callable[[Path], object]:
    return lambda temporary: shutil.copyfile(folder / "checkpoint.pth", temporary)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    os.replace(temporary, path)


def _link(link: Path, epoch: int) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(f"{epoch}epoch.pth")
