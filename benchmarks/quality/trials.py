"""What every ground gives: trials with their signals, enrolment and facts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Signals:
    """The signals of one trial, each float32 (N,) at 16 kHz; zeros where absent."""

    mixture: np.ndarray
    target: np.ndarray
    interferer: np.ndarray


@dataclass(frozen=True)
class Trial:
    """One mixture with the voice to keep.

    Attributes:
        uid: its key within the ground.
        scenario: rows are put together by it.
        target: the speaker, over whom intervals are drawn.
        enrolment: files of the target's voice.
        read: gives the signals; picklable.
        facts: go into the row of scores.
        text: what the target says, "" where it is silent, None where nobody knows.
    """

    uid: str
    scenario: str
    target: str
    enrolment: tuple[Path, ...]
    read: Callable[[], Signals]
    facts: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None


def fixed_order(items: Sequence[T], name: Callable[[T], str]) -> list[T]:
    """The items in an order that depends on their names alone.

    The first N of it are a fixed subset, and a larger N extends a smaller one's.
    """

    def place(item: T) -> str:
        return hashlib.sha256(f"quality {name(item)}".encode()).hexdigest()

    return sorted(items, key=place)
