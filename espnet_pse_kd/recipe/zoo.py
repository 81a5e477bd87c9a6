"""Models that others shared: finding them, and starting the recipe from one."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, read_json
from espnet_pse_kd.utils.yamls import read_yaml

CONFIG_NAME = "shared"
"""What tables call the configuration of a shared model."""


def zoo_files(model: str, option: str) -> dict[str, str]:
    """Paths of the files of a packed model, by the name that its packer gave them.

    Args:
        model: tag of the model zoo or of a Hugging Face repository, URL, packed zip,
            or a folder into which one was unpacked.
        option: how the user named it, for the error line.

    Raises:
        UserError: there is no such model, or it is no packed one.
    """
    if Path(model).is_dir():
        return _unpacked_files(Path(model), option)
    from espnet_model_zoo.downloader import ModelDownloader

    try:
        return ModelDownloader().download_and_unpack(model)
    except Exception as error:  # the zoo raises whatever its transports raise
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"{option} {model}: neither a path here nor a model of the zoo "
            f"({type(error).__name__}: {reason}); correct it"
        ) from error


def _unpacked_files(folder: Path, option: str) -> dict[str, str]:
    if not (folder / "meta.yaml").is_file():
        raise UserError(
            f"{option} {folder}: no meta.yaml; give a packed model, or the folder into "
            "which one was unpacked"
        )
    meta = read_yaml(folder / "meta.yaml")
    parts = (meta.get("yaml_files") or {}, meta.get("files") or {})
    return {name: str(folder / path) for part in parts for name, path in part.items()}


def folder_of_shared(model: str, expdir: Path) -> Path:
    """The experiment folder of a shared model: ``pse_shared_<name>``."""
    path = Path(model)
    name = path.stem if path.suffix == ".zip" else path.name
    plain = re.sub(r"[^\w.-]+", "_", name).removeprefix("pse_")
    if not plain.strip("."):
        raise UserError(f"--download_model {model!r}: empty name; give a tag or path")
    return expdir / f"pse_{CONFIG_NAME}_{plain}"


def fetch_student(model: str, expdir: Path, model_file: str) -> Path:
    """Make an experiment folder of a shared model, for stages 6 to 8.

    The same model in the same folder is left as it is, so that what was enhanced with
    it stays valid.

    Args:
        model: see `zoo_files`.
        expdir: where the folder goes.
        model_file: the checkpoint's name in it.

    Returns:
        the folder.

    Raises:
        UserError: it is no student, or the folder holds something else.
    """
    from espnet_pse_kd.espnet.loading import load_student

    folder = folder_of_shared(model, expdir)
    files = zoo_files(model, "--download_model")
    missing = [name for name in ("train_config", "model_file") if name not in files]
    if missing:
        raise UserError(
            f"--download_model {model}: packs no {missing[0]}; give a personalized "
            "enhancement model that stage 8 packed"
        )
    load_student(files["train_config"], files["model_file"])
    digest = hashlib.sha256(Path(files["model_file"]).read_bytes()).hexdigest()
    if folder.exists():
        if read_json(folder / "run.json").get("sha256") != digest:
            raise UserError(
                f"{folder}: holds another model; remove it, or give another --expdir"
            )
        return folder
    folder.mkdir(parents=True)
    shutil.copyfile(files["train_config"], folder / "config.yaml")
    shutil.copyfile(files["model_file"], folder / model_file)
    record = {
        "method": folder.name.removeprefix(f"pse_{CONFIG_NAME}_"),
        "config": CONFIG_NAME,
        "seed": 0,
        "finished": True,
        "origin": model,
        "sha256": digest,
    }
    with atomic_open(folder / "run.json") as file:
        json.dump(record, file, indent=1)
    return folder
