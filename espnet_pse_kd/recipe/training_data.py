"""The data of a training: what it reads or mixes from, and how it is told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.options import CONSTRUCTIONS, SimulationOptions
from espnet_pse_kd.simulation.sets import OPTIONS_FILE

_SIGNALS = (
    ("wav.scp", "speech_mix", "sound"),
    ("spk1.scp", "speech_ref1", "sound"),
    ("interf1.scp", "interf_ref1", "sound"),
    ("enroll_id", "enroll_ref1", "text"),
)
_WINDOWS = ("window_vectors.scp", "window_vectors", "npy")
_IDENTITY = ("trials.jsonl", "enroll_id")
"""Files of a data folder that say what is in it."""
_TABLES = ("", ".scp", ".jsonl")
"""Suffixes of files of lines: Kaldi tables and records."""
_CORPUS = ("speech/wav.scp", "speech/utt2spk", "noise/wav.scp")
"""Files of ``data/train`` that say from what a training mixes."""


def split_of(data_set: str) -> str:
    """The corpus split of a simulated set: ``train_noits`` is made from ``train``."""
    return data_set.partition("_")[0]


def mixing_options(
    dumpdir: Path, datadir: Path, samples: int, its: bool | float | str
) -> dict[str, Any]:
    """``dynamic_mixing`` of a training, with the options that stage 2 was run with.

    Args:
        dumpdir: holds stage 2's options and the enrolment clips that they led to.
        datadir: written by stage 1.
        samples: per epoch.
        its: variant of the inactive-target samples, see `simulation.dataset.its_set`.

    Raises:
        UserError: stage 2 was not run.
    """
    path = dumpdir / OPTIONS_FILE
    if not path.is_file():
        raise UserError(f"{path}: no such file; run stage 2 first")
    used = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(its, str):
        used |= {name: float(name == its) for name in CONSTRUCTIONS}
    else:
        # What is left out becomes ordinary samples of two voices, as twins are.
        kept = used["its"] * float(its)
        used |= {"its": kept, "ts2": used["ts2"] + used["its"] - kept}
    defaults = json.loads(json.dumps(asdict(SimulationOptions())))
    # An option that stage 2 did not know yet has its default.
    changed = {k: used[k] for k in defaults if used.get(k, defaults[k]) != defaults[k]}
    return {
        "data": str(datadir),
        "samples": samples,
        "seed": used["seed"],
        "options": changed,
    }


def data_options(
    dumpdir: Path, train_set: str | None, valid_set: str, windows: bool
) -> dict[str, Any]:
    """ESPnet's options that name the data of a training.

    Args:
        dumpdir: holds ``raw/`` and ``enroll/``.
        train_set: folder of ``raw/``; None where the training mixes for itself.
        valid_set: folder of ``raw/``.
        windows: whether the window vectors of the mixtures are read too.
    """
    options: dict[str, Any] = {}
    files = _SIGNALS + ((_WINDOWS,) if windows else ())
    for kind, name in (("train", train_set), ("valid", valid_set)):
        if name is None:
            options["train_enroll_vectors"] = str(
                dumpdir / "enroll" / "train" / "vectors.npz"
            )
            continue
        folder = dumpdir / "raw" / name
        options[f"{kind}_data_path_and_name_and_type"] = [
            [str(folder / file), key, form] for file, key, form in files
        ]
        options[f"{kind}_shape_file"] = [str(folder / "utt2num_samples")]
        options[f"{kind}_enroll_vectors"] = str(
            dumpdir / "enroll" / split_of(name) / "vectors.npz"
        )
    return options


def input_files(config: Mapping[str, Any]) -> list[Path]:
    """Files that decide what a training with ``config`` yields, beside ``config``."""
    files = []
    mixing = config.get("dynamic_mixing")
    if mixing:
        files += [Path(mixing["data"]) / "train" / name for name in _CORPUS]
    for kind in ("train", "valid"):
        if kind == "valid" or not mixing:
            folder = Path(config[f"{kind}_shape_file"][0]).parent
            files += [folder / name for name in _IDENTITY]
        files.append(Path(config[f"{kind}_enroll_vectors"]))
    if config.get("teacher_model_file"):
        files.append(Path(config["teacher_model_file"]))
    return files


def fingerprints(files: Iterable[Path]) -> dict[str, str]:
    """Size and SHA-256 of each file: ``120 lines, sha256 HEX``.

    Raises:
        UserError: one of them is missing.
    """
    sums = {}
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; run the stages before this one")
        content = file.read_bytes()
        table = file.suffix in _TABLES
        size = f"{content.count(b'\n')} lines" if table else f"{len(content)} bytes"
        sums[str(file)] = f"{size}, sha256 {hashlib.sha256(content).hexdigest()}"
    return sums


def other_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Files whose `fingerprints` differ, sorted."""

    def digest(fingerprint: str | None) -> str:
        return (fingerprint or "").rpartition(" ")[2]

    keys = {*before, *now}
    return sorted(k for k in keys if digest(before.get(k)) != digest(now.get(k)))
