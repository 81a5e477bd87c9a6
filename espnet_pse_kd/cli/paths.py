"""Whether two paths are one file, and whether a result would replace an input."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.errors import UserError


class Identity(NamedTuple):
    """What all paths of one file on disk have in common.

    Attributes:
        device: where it lies.
        number: of the file on that device.
    """

    device: int
    number: int


def identities(paths: Iterable[Path]) -> frozenset[Identity]:
    """Those of the files that exist."""
    return frozenset(found for path in paths if (found := _identity(path)))


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:  # missing, or nothing that can be looked at
        return None
    return Identity(found.st_dev, found.st_ino)


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths are one file on disk."""
    return bool(identities([a]) & identities([b]))


def refuse_inputs(
    output: Path, inputs: frozenset[Identity], option: str = "--output"
) -> None:
    """Refuse to replace what the command reads: ``--force`` is for results.

    Args:
        output: file to write.
        inputs: files that the command reads.
        option: that names the output, for the error.

    Raises:
        UserError: the output is one of the inputs, however its path is spelled.
    """
    if identities([output]) & inputs:
        raise UserError(
            f"{output}: is an input as well, and would be lost; give another {option}"
        )
