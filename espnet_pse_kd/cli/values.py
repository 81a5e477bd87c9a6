"""Values of options: what parses them, and refuses them in one line."""

from __future__ import annotations

import argparse
import string
from collections.abc import Callable

from espnet_pse_kd.cli.batch import NAME

VOICE = "{voice}"
"""Stands for the name of the voice in that of a result."""


def decibel(text: str) -> float:
    """Parse an attenuation limit; the type of ``--attenuation-limit``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; give a number of dB, 0 or more")
    return value


def whole_number(most: int) -> Callable[[str], int]:
    """What parses a whole number from 1 to ``most``."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
            raise argparse.ArgumentTypeError(f"{text!r:.60}; give 1 to {most}")
        return int(text)

    return parse


def result_name(text: str) -> str:
    """Parse how results beside their recordings are called; of ``--result-name``."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field]
    except ValueError:
        fields = []
    known = fields.count("name") == 1 and set(fields) <= {"name", "voice"}
    plain = text.replace(NAME, "").replace(VOICE, "x")
    if not known or not plain or set(plain) & set("{}/\\\0"):
        raise argparse.ArgumentTypeError(
            f"{text!r:.60}; give {NAME} and more, without a folder, such as "
            f"{NAME}_{VOICE}"
        )
    return text
