"""Trained networks from the recipe's folders and zips, without ESPnet.

Nothing is unpacked and no code in a file is run: members of a zip are read in memory,
and checkpoints as tensors only.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.enrolment_vectors import encoder_of_training
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export.foreign import (
    LARGEST_MODEL,
    check_inside,
    check_options,
    check_parameters,
    check_unpacked_size,
    check_words,
    read_member,
)
from espnet_pse_kd.files import read_limited
from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.nets.streaming import StreamingNetwork
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.speaker import OFFLINE_NAMES, identity_of
from espnet_pse_kd.utils.tensors import load_tensors
from espnet_pse_kd.utils.yamls import LARGEST as LARGEST_YAML
from espnet_pse_kd.utils.yamls import parse_yaml

M = TypeVar("M", bound=nn.Module)

_BEST = "valid.loss.best.pth"
_EXTRACTOR = "extractor.network."
_PVAD = "pvad."
# Of Python's module for zips, and of what unpacks them; an unknown method is a
# RuntimeError, a name that is no text a ValueError.
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(RuntimeError, ValueError, EOFError),
)


@dataclass(frozen=True)
class StudentInfo:
    """What a training says of its network.

    Attributes:
        name: of the network, in ``NETWORKS``.
        speaker_encoder: the encoder whose vectors it was trained on.
        personalized: False where it was trained to ignore the vector.
        source: folder or zip that it was read from.
        network_conf: arguments of the network.
    """

    name: str
    speaker_encoder: EncoderIdentity
    personalized: bool
    source: Path
    network_conf: Mapping[str, Any]


def load_student(source: str | Path) -> tuple[StreamingNetwork, StudentInfo]:
    """Load a trained network.

    Args:
        source: folder of a training (``config.yaml``, ``valid.loss.best.pth``), or what
            stage 8 packed: a zip, or the folder into which one was unpacked.

    Returns:
        The network in evaluation mode, and where it comes from.

    Raises:
        UserError: a file is missing, damaged or holds code, paths of the zip climb out
            of it, or the files do not belong together.
    """
    source = Path(source)
    config, state = _read_training(source)
    name = config.get("extractor")
    if not isinstance(name, str) or name not in NETWORKS:
        raise UserError(
            f"{source}: extractor {name!r:.60} is no network of this package; give one "
            f"of {', '.join(NETWORKS)}"
        )
    rate = config.get("sample_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{source}: trained at {rate!s:.60} Hz; train it at {SAMPLE_RATE} Hz"
        )
    conf = check_options(source, config.get("extractor_conf") or {})
    info = StudentInfo(
        name=name,
        speaker_encoder=_identity(
            conf.pop("speaker_encoder", "ge2e"), conf.pop("speaker_digest", None)
        ),
        personalized=conf.pop("personalized", True),
        source=source,
        network_conf=conf,
    )
    return _build(source, NETWORKS[name], conf, state, _EXTRACTOR), info


def load_pvad(source: str | Path) -> tuple[PersonalVAD, EncoderIdentity | None]:
    """Load a trained personal VAD; ``source`` and errors as of `load_student`.

    Returns:
        The network in evaluation mode, and the speaker encoder whose vectors it was
        trained on, None where nothing says it.
    """
    source = Path(source)
    config, state = _read_training(source)
    if "pvad" not in config:
        raise UserError(f"{source}: no training of a personal VAD; give another folder")
    conf = check_options(source, config.get("pvad_conf") or {})
    pvad = _build(source, PersonalVAD, conf, state, _PVAD)
    named = encoder_of_training(config)
    return pvad, None if named is None else _identity(*named)


def _identity(name: str, digest: str | None) -> EncoderIdentity:
    """Of an encoder; one of ESPnet's whose weights nobody named has no digest."""
    if digest is None and name not in OFFLINE_NAMES:
        return EncoderIdentity(name, "")
    return identity_of(name, digest)


def _build(
    source: Path,
    network_class: type[M],
    conf: Mapping[str, Any],
    state: Mapping[str, Tensor],
    prefix: str,
) -> M:
    """A network with the parameters below ``prefix``, all of which must fit."""
    own = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix)
    }
    try:
        with torch.device("meta"):
            planned = network_class(**conf)
    # With senseless options a network's arithmetic fails in any way.
    except Exception as error:
        raise UserError(
            f"{source}: {network_class.__name__} refuses its configuration "
            f"({error!s:.200}); it was trained with another version of espnet_pse_kd"
        ) from None
    check_parameters(source, planned, own)
    network = network_class(**conf)
    network.load_state_dict(own)
    return network.eval().requires_grad_(False)


def _read_training(source: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and parameters of a folder or zip."""
    if source.is_dir():
        return _read_files(source, lambda name, most: _read_file(source / name, most))
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                check_inside(source, name)
            return _read_files(
                source, lambda *words: read_member(source, archive, *words)
            )
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{source}: {error.strerror or error}; give a training's folder or its "
            "zip, one that you may read"
        ) from None
    except _ZIP_ERRORS as error:
        raise UserError(
            f"{source}: no readable zip ({error!s:.200}); copy it again, or give a "
            "folder"
        ) from None


def _read_files(
    source: Path, read: Callable[[str, int], bytes | None]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Find and parse the two files.

    ``read`` gets a name and how many bytes it may have; None: there is none.
    """
    config_name, model_name = "config.yaml", _BEST
    meta = read("meta.yaml", LARGEST_YAML)
    if meta is not None:
        packed = parse_yaml(meta, f"{source}: meta.yaml")
        try:
            config_name = str(packed["yaml_files"]["train_config"])
            model_name = str(packed["files"]["model_file"])
        except (KeyError, TypeError):
            raise UserError(
                f"{source}: meta.yaml names no train_config and model_file; "
                "pack the training again"
            ) from None
        check_inside(source, config_name)
        check_inside(source, model_name)
    config, model = read(config_name, LARGEST_YAML), read(model_name, LARGEST_MODEL)
    for name, content in ((config_name, config), (model_name, model)):
        if content is None:
            raise UserError(
                f"{source}: holds no {name:.100}; finish the training, or give the "
                "folder or zip of one"
            )
    parsed = parse_yaml(config or b"", f"{source}: {config_name}")
    check_words(source, parsed)
    check_unpacked_size(model or b"", f"{source}: {model_name}")
    return parsed, load_tensors(io.BytesIO(model or b""), f"{source}: {model_name}")


def _read_file(path: Path, largest: int) -> bytes | None:
    """What is in a file, None where there is none."""
    try:
        if not path.is_file():
            return None
        return read_limited(path, largest, "give another training")
    except OSError as error:  # to the caller it could be one of the output as well
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); correct its rights"
        ) from None
