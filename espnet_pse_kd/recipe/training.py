"""The folder of a training: its configuration, what it was trained on, its trunk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import atomic_open
from espnet_pse_kd.recipe.methods import read_yaml

CONFIG = "train_config.yaml"
INPUTS = "inputs.json"
CHECKPOINT = "checkpoint.pth"
TEACHER_MODEL = "valid.acc.best.pth"

_SIGNALS = (
    ("wav.scp", "speech_mix", "sound"),
    ("spk1.scp", "speech_ref1", "sound"),
    ("interf1.scp", "interf_ref1", "sound"),
    ("enroll_id", "enroll_ref1", "text"),
)
_WINDOWS = ("window_vectors.scp", "window_vectors", "npy")
_IDENTITY = ("trials.jsonl", "enroll_id")
"""Files of a data folder that say what is in it."""


def split_of(data_set: str) -> str:
    """The corpus split of a simulated set: ``train_noits`` is made from ``train``."""
    return data_set.partition("_")[0]


def data_options(
    dumpdir: Path, train_set: str, valid_set: str, windows: bool
) -> dict[str, Any]:
    """ESPnet's options that name the data of a training.

    Args:
        dumpdir: holds ``raw/`` and ``enroll/``.
        train_set: folder of ``raw/``.
        valid_set: folder of ``raw/``.
        windows: whether the window vectors of the mixtures are read too.
    """
    options: dict[str, Any] = {}
    files = _SIGNALS + ((_WINDOWS,) if windows else ())
    for kind, name in (("train", train_set), ("valid", valid_set)):
        folder = dumpdir / "raw" / name
        options[f"{kind}_data_path_and_name_and_type"] = [
            [str(folder / file), key, form] for file, key, form in files
        ]
        options[f"{kind}_shape_file"] = [str(folder / "utt2num_samples")]
        options[f"{kind}_enroll_vectors"] = str(
            dumpdir / "enroll" / split_of(name) / "vectors.npz"
        )
    return options


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


def input_files(config: Mapping[str, Any]) -> list[Path]:
    """Files that decide what a training with ``config`` yields, beside ``config``."""
    files = []
    for kind in ("train", "valid"):
        folder = Path(config[f"{kind}_shape_file"][0]).parent
        files += [folder / name for name in _IDENTITY]
        files.append(Path(config[f"{kind}_enroll_vectors"]))
    if config.get("teacher_model_file"):
        files.append(Path(config["teacher_model_file"]))
    return files


def fingerprints(files: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file.

    Raises:
        UserError: one of them is missing.
    """
    sums = {}
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; run the stages before this one")
        sums[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return sums


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
        _compare(exp, "options", read_yaml(exp / CONFIG), dict(config))
        _compare(exp, "data", json.loads((exp / INPUTS).read_text()), inputs)
        return "finished" if is_finished(exp) else "resume"
    with atomic_open(exp / CONFIG) as file:
        yaml.safe_dump(dict(config), file, sort_keys=False, allow_unicode=True)
    with atomic_open(exp / INPUTS) as file:
        json.dump(inputs, file, indent=1)
    return "new"


def is_finished(exp: Path) -> bool:
    """Whether ``run.json``, which `jobs.run` writes, says that the training ended."""
    record = exp / "run.json"
    return record.is_file() and bool(json.loads(record.read_text())["finished"])


def _compare(
    exp: Path, what: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    changed = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
    if changed:
        key = changed[0]
        raise UserError(
            f"{exp}: it was trained with other {what} ({key}: "
            f"{str(before.get(key))[:60]!r}, now {str(now.get(key))[:60]!r}); remove "
            "the folder, or give another --expdir"
        )


def fork(trunk: Path, exp: Path) -> None:
    """Let a training continue from the last state of another.

    Network, optimizer, scheduler and epoch number are taken over, so that the data
    order goes on as the trunk's would have; the trunk's losses are left out, as they
    were measured on other data and must not count for the best epoch.

    Raises:
        UserError: the trunk is not finished.
    """
    import torch

    if (exp / CHECKPOINT).exists():
        return
    if not is_finished(trunk) or not (trunk / CHECKPOINT).is_file():
        raise UserError(f"{trunk}: the trunk is not trained; run stage 5 again")
    state = torch.load(trunk / CHECKPOINT, map_location="cpu", weights_only=True)
    state["reporter"]["stats"] = {}
    with atomic_open(exp / CHECKPOINT, "wb") as file:
        torch.save(state, file)
