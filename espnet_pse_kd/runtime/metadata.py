"""What a model file may say of itself: required entries, and limits of their values.

The checksum of a file is no signature: whoever changes an entry can seal it again. So
every entry is checked before anything is made of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.fbank import HOP

CLASSES = "ns ntss tss"
"""The classes of a personal VAD, in the only order that there is."""
_MOST_STATES = 1000
_INITIAL_STATE = "initial_state"


class Whole(NamedTuple):
    """An entry that is a whole number.

    Attributes:
        least: smallest value.
        most: largest value.
        step: the value is a multiple of this.
    """

    least: int
    most: int
    step: int = 1

    def fault(self, text: str) -> str:
        """What is wrong with the text; empty if nothing is."""
        digits = re.fullmatch(r"\d{1,12}", text, re.ASCII)
        if digits and self.least <= int(text) <= self.most:
            if int(text) % self.step == 0:
                return ""
            return f"give a multiple of {self.step}"
        if self.least == self.most:
            return f"give {self.least}"
        return f"give {self.least} to {self.most}"


class Seconds(NamedTuple):
    """An entry that is a time.

    Attributes:
        least: shortest.
        most: longest.
    """

    least: float
    most: float

    def fault(self, text: str) -> str:
        """What is wrong with the text; empty if nothing is."""
        digits = re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII)
        if digits and self.least <= float(text) <= self.most:
            return ""
        return f"give {self.least} to {self.most}"


class Text(NamedTuple):
    """An entry that is a name: printable, on one line.

    Attributes:
        longest: number of characters.
        only: the only text that it may be, if there is but one.
    """

    longest: int = 100
    only: str = ""

    def fault(self, text: str) -> str:
        """What is wrong with the text; empty if nothing is."""
        if self.only and text != self.only:
            return f"give {self.only!r}"
        if 1 <= len(text) <= self.longest and text.isprintable():
            return ""
        return f"give 1 to {self.longest} characters that can be printed"


Schema = Mapping[str, Whole | Seconds | Text]
"""Entries that a file must have, with what they may be."""
_ANY: Schema = {
    "name": Text(),
    "package_version": Text(),
    "sample_rate": Whole(SAMPLE_RATE, SAMPLE_RATE),
    "speaker_dim": Whole(1, 4096),
}
SCHEMAS: Mapping[str, Schema] = {
    "student": {
        **_ANY,
        "hop": Whole(1, SAMPLE_RATE),
        "latency": Whole(1, 10 * SAMPLE_RATE),
        "speaker_encoder": Text(),
        "speaker_digest": Text(),
        "precision": Text(),
        _INITIAL_STATE: Text(100_000),
    },
    "speaker_encoder": {**_ANY, "digest": Text(), "window_seconds": Seconds(0.1, 10.0)},
    "pvad": {
        **_ANY,
        "hop": Whole(1, SAMPLE_RATE),
        "window_hop": Whole(HOP, 10 * SAMPLE_RATE, step=HOP),
        "speaker_encoder": Text(),
        "speaker_digest": Text(),
        "classes": Text(only=CLASSES),
    },
}
"""By the kind of the file."""


def check_metadata(path: Path, metadata: Mapping[str, str], kind: str) -> None:
    """Check the entries of a model file.

    Args:
        path: of the file.
        metadata: what it says of itself.
        kind: of the file, a key of `SCHEMAS`.

    Raises:
        UserError: an entry is missing or not what it may be.
    """
    for key, entry in SCHEMAS[kind].items():
        text = metadata.get(key)
        if text is None:
            raise UserError(f"{path}: its metadata lack {key}; export it again")
        if fault := entry.fault(text):
            raise UserError(
                f"{path}: {key} is {text!r:.60} in its metadata, {fault}; export it "
                "again"
            )
    if kind == "student" and int(metadata["latency"]) < int(metadata["hop"]):
        raise UserError(
            f"{path}: a latency of {metadata['latency']} samples, less than the hop of "
            f"{metadata['hop']}; export it again"
        )


def initial_fills(path: Path, metadata: Mapping[str, str]) -> dict[str, float]:
    """The numbers with which a student's states begin, by the names of the inputs.

    Raises:
        UserError: they are no JSON object of finite numbers.
    """
    try:
        fills = json.loads(metadata[_INITIAL_STATE])
    except (ValueError, RecursionError):  # of Python's JSON, when it is nested
        fills = None
    if not (isinstance(fills, dict) and len(fills) <= _MOST_STATES):
        fills = {"": None}
    for value in fills.values():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and abs(value) <= 1e6 and math.isfinite(value)):
            raise UserError(
                f"{path}: {_INITIAL_STATE} is {metadata[_INITIAL_STATE]!r:.60} in its "
                "metadata, no object of numbers; export it again"
            )
    return {name: float(value) for name, value in fills.items()}
