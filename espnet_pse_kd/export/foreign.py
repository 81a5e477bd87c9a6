"""Limits for trainings of others: of archives, configurations and parameters.

They are checked before memory or time is spent on what a file claims.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import torch
from torch import Tensor, nn

from espnet_pse_kd.errors import UserError

LARGEST_MODEL = 1 << 30
"""Bytes of a checkpoint, unpacked."""
_LARGEST_NUMBER = 65_536  # of any option: widths, windows, hops
_MOST_LAYERS = 64
_LAYERS = ("layers", "blocks")  # options that count modules
# Entries that are text.
_WORDS = ("speaker_encoder", "speaker_digest", "train_enroll_vectors")
_LONGEST_LIST = 16
_LONGEST_TEXT = 100


def check_inside(source: Path, name: str) -> None:
    """Refuse paths that lead out of a folder, on any system.

    Raises:
        UserError: ``name`` is absolute, has a drive, or climbs.
    """
    path = PureWindowsPath(name)  # which knows both kinds of slashes
    if path.drive or path.root or ".." in path.parts:
        raise UserError(
            f"{source}: the path {name!r:.100} leads out of it; do not use this file"
        )


def read_member(
    source: Path, archive: zipfile.ZipFile, name: str, largest: int
) -> bytes | None:
    """What is in a member of a zip, None where there is none.

    Raises:
        UserError: it is encrypted, or claims more than ``largest`` bytes.
    """
    if name not in archive.namelist():
        return None
    member = archive.getinfo(name)
    if member.flag_bits & 1:
        raise UserError(f"{source}: {name} is encrypted; get it without a password")
    if member.file_size > largest:
        raise UserError(
            f"{source}: {name} claims {member.file_size / 1e6:.0f} MB, at most "
            f"{largest / 1e6:.0f}; get another zip"
        )
    return archive.read(name)


def check_unpacked_size(checkpoint: bytes, name: str) -> None:
    """Refuse a checkpoint, itself a zip, that claims to unpack to very much.

    Raises:
        UserError: it does.
    """
    file = io.BytesIO(checkpoint)
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as records:
        size = sum(record.file_size for record in records.infolist())
    if size > LARGEST_MODEL:
        raise UserError(f"{name}: claims {size / 1e9:.0f} GB; get another model")


def check_options(source: Path, options: Any) -> dict[str, Any]:
    """The arguments of a network, if they are plain and of sensible sizes.

    Raises:
        UserError: they are no mapping of names to numbers, words, or short lists of
            numbers, or one is beyond the limits.
    """
    if not isinstance(options, dict):
        raise UserError(
            f"{source}: the network's options are {options!r:.60}, no mapping; pack "
            "the training again"
        )
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        most = _MOST_LAYERS if name in _LAYERS else _LARGEST_NUMBER
        fit = all(_is_plain(one, most) for one in values)
        if not (isinstance(name, str) and fit and len(values) <= _LONGEST_LIST):
            raise UserError(
                f"{source}: the network's option {name!r:.60} is {value!r:.60}; "
                f"numbers are 0 to {most}, lists have {_LONGEST_LIST}; pack the "
                "training again"
            )
    return dict(options)


def check_words(source: Path, config: Mapping[str, Any]) -> None:
    """Check what a configuration says of the speaker vectors.

    Raises:
        UserError: it is no text.
    """
    conf = config.get("extractor_conf")
    for part in (config, conf if isinstance(conf, dict) else {}):
        for name in _WORDS:
            if not isinstance(value := part.get(name, ""), str | None):
                raise UserError(
                    f"{source}: {name} is {value!r:.60}, no text; pack the training "
                    "again"
                )


def _is_plain(value: Any, most: int) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, int | float):
        return math.isfinite(value) and 0 <= value <= most
    return value is None


def check_parameters(
    source: Path, network: nn.Module, state: Mapping[str, Tensor]
) -> None:
    """Check parameters against the network that is to have them.

    Args:
        source: where they are from.
        network: on the device ``meta``, so that it takes no memory.
        state: the parameters. A stored tensor may claim to be larger than its file, so
            shapes come before values.

    Raises:
        UserError: names or shapes are others, or a value is no finite real number.
    """
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in state.items()}
    differing = sorted(
        name for name in {*expected, *found} if expected.get(name) != found.get(name)
    )
    if differing:
        name = differing[0]
        raise UserError(
            f"{source}: config and model do not belong together ({name:.100}: "
            f"{_shape(found.get(name))}, the config says {_shape(expected.get(name))})"
            "; pack the training again"
        )
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_complex() or not torch.isfinite(tensor).all():
            raise UserError(
                f"{source}: {name} holds values that are no finite real numbers; get "
                "or train the model again"
            )


def _shape(shape: torch.Size | None) -> str:
    return "nothing" if shape is None else str(tuple(shape))
