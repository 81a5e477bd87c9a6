"""Finding a model: in the package, a folder, a packed zip, or the model zoo."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd import __version__
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.files import refuse_special
from espnet_pse_kd.runtime.default_model import (
    ENCODERS,
    PERSONAL_VAD,
    SPEAKER_ENCODER,
    STUDENT,
    WEIGHTS,
)
from espnet_pse_kd.runtime.onnxfile import FORMAT_VERSION, read_model_file

_ZOO_TAG = re.compile(r"[\w.-]+/[\w.-]+")


class ModelFiles(NamedTuple):
    """Files of one model, in onnxruntime's format.

    Attributes:
        student: the enhancement network.
        speaker_encoder: what makes the vector of a voice.
        personal_vad: what tells where the voice speaks.
    """

    student: Path
    speaker_encoder: Path
    personal_vad: Path


def find_model(source: str | Path | None = None) -> ModelFiles:
    """Find or convert a model.

    A trained PyTorch network is exported once; the result is kept in `cache_folder`
    under a digest of what it was made from.

    Args:
        source: None for the package's weights; a folder that holds ``student.onnx``;
            an ``.onnx`` file of ``pse-kd export``; the folder of a training or the zip
            that stage 8 packed; or a tag of the model zoo, ``USER/NAME``. What a source
            lacks of speaker encoder and personal VAD comes from the package.

    Raises:
        UserError: nothing usable is there, or the zip is not safe to read.
    """
    if source is None:
        return _files(WEIGHTS / STUDENT)
    if not isinstance(source, str | Path):
        raise UserError(f"model: {source!r:.60}; give a path, a tag, or None")
    if not str(source):
        raise UserError("model: an empty name; give a path, a tag, or leave it out")
    path = Path(source)
    if path.is_dir() and (path / STUDENT).is_file():
        return _files(path / STUDENT)
    if path.exists():
        refuse_special(path, "give a folder, a packed zip or an .onnx file")
    if path.suffix == ".onnx":
        return _files(path)
    if path.exists():
        _check_training(path)
        return _files(_exported(path))
    if _ZOO_TAG.fullmatch(str(source)) and not path.parent.is_dir():
        return find_model(_downloaded(str(source)))
    raise UserError(
        f"{source}: no such model; give a folder, a packed zip, an .onnx file, or a "
        "tag of the model zoo (USER/NAME)"
    )


def cache_folder() -> Path:
    """Where exported models are kept: ``$XDG_CACHE_HOME``, or ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "espnet_pse_kd"


def _files(student: Path) -> ModelFiles:
    if not student.is_file():
        raise UserError(
            f"{student}: no such file, this install has no default weights; give a "
            "model (--model: a packed zip, the folder of a training, an .onnx file)"
        )
    vad = student.with_name(PERSONAL_VAD)
    return ModelFiles(
        student, _encoder_of(student), vad if vad.is_file() else WEIGHTS / PERSONAL_VAD
    )


def _encoder_of(student: Path) -> Path:
    """The speaker encoder beside a network, or the package's of that name."""
    beside = student.with_name(SPEAKER_ENCODER)
    if beside.is_file():
        return beside
    name = read_model_file(student, "student").metadata["speaker_encoder"]
    return ENCODERS.get(name, beside)


def _check_training(path: Path) -> None:
    """Refuse what holds no training, before torch is loaded, or said to be missing."""
    if path.is_dir():
        if any((path / name).is_file() for name in ("config.yaml", "meta.yaml")):
            return
        raise UserError(
            f"{path}: holds neither {STUDENT} nor a training's config.yaml; give "
            "another folder, a packed zip or an .onnx file"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path}: no readable zip; give a packed zip, a folder or an .onnx file"
        )


def _downloaded(tag: str) -> Path:
    """The folder of a model that was shared on Hugging Face."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{tag}: shared models need huggingface_hub; run: "
            "pip install huggingface_hub"
        ) from None
    # Its exceptions, and those of its HTTP client, have no common base.
    try:
        return Path(snapshot_download(tag))
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{tag}: cannot be had from the model zoo ({reason[0]}); check the tag and "
            "the network"
        ) from None


def _exported(source: Path) -> Path:
    """The ONNX file of a PyTorch network, made now if it is not in the cache.

    Its speaker encoder stands beside it, unless it is one of ESPnet's: the network is
    written last, so that an interrupted conversion is done again.
    """
    student = cache_folder() / _digest(source) / STUDENT
    if student.is_file():
        return student
    try:
        from espnet_pse_kd.export import load_student, write_student
        from espnet_pse_kd.speaker import OFFLINE_NAMES
    except ModuleNotFoundError as error:
        raise UserError(
            f"{source}: a PyTorch network, but {error.name} is not installed; "
            f"{how_to_install('train')}"
        ) from None
    # It may be another than the package's.
    network, info = load_student(source)
    offline = info.speaker_encoder.name in OFFLINE_NAMES
    encoder = student.with_name(SPEAKER_ENCODER) if offline else None
    write_student(network, info, student, encoder)
    return student


def _digest(source: Path) -> str:
    """Digest of everything that a conversion reads, and of the version that does it."""
    files = [source]
    if source.is_dir():
        packed = (source / "meta.yaml").is_file()  # it names the network
        kinds = ("*.yaml", "*.pth" if packed else "valid.loss.best.pth")
        files = [path for kind in kinds for path in sorted(source.rglob(kind))]
    digest = hashlib.sha256(f"{__version__}, format {FORMAT_VERSION}".encode())
    for path in files:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
