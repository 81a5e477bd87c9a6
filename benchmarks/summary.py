"""Figures that the page shows, from the data of a run."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

from benchmarks.rows import (
    FP32,
    HELP,
    IMPORT,
    INT8,
    PYTORCH_WHOLE,
    SPEAKERBEAM,
    Kind,
)

RTF_LIMITS: Mapping[tuple[str, str], float] = {
    ("mingru", FP32): 0.05,
    ("e3net_small", FP32): 0.10,
    ("e3net", FP32): 0.35,
    ("mingru", INT8): 0.03,
    ("e3net_small", INT8): 0.05,
    ("e3net", INT8): 0.10,
}
LATENCY_LIMIT_MS = 20.0
FASTER = 5.0
"""Times that the small networks are to be faster than TD-SpeakerBeam."""


class Bar(NamedTuple):
    """One demand.

    Attributes:
        what: is demanded.
        value: that was measured; None: it was not.
        limit: of it.
        unit: of both, such as ``ms``.
        least: whether ``limit`` is the least, not the most.
    """

    what: str
    value: float | None
    limit: float
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it is met; None: not measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit


class Training(NamedTuple):
    """What a step of training costs; medians over the rounds.

    Attributes:
        seconds: of a step.
        steps_per_second: the reverse.
        audio_hours_per_hour: audio that is trained on, per time.
        teacher: share of the step, with cached window vectors.
        teacher_uncached: share of a step that computes them.
    """

    seconds: float
    steps_per_second: float
    audio_hours_per_hour: float
    teacher: float
    teacher_uncached: float


class Results:
    """The data of one run.

    Args:
        data: as the data file holds it.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self._rows = {
            (row["kind"], row["name"], row["runtime"]): row for row in data["rows"]
        }

    def rows(self, kind: Kind) -> list[dict[str, Any]]:
        """Rows of a kind, in their order."""
        return [row for row in self.data["rows"] if row["kind"] == kind]

    def row(self, kind: Kind, name: str, runtime: str = "") -> dict[str, Any]:
        """One row; empty where it was not run or failed."""
        found = self._rows.get((kind, name, runtime), {})
        return {} if "error" in found else found

    def rtf(self, name: str, runtime: str) -> float | None:
        """Median seconds per second of audio."""
        values = self.row("audio", name, runtime).get("rtf")
        return median(values) if values else None

    def times_faster(self, name: str, runtime: str) -> float | None:
        """Than TD-SpeakerBeam's whole pass: median of the ratios of each round."""
        own = self.row("audio", name, runtime).get("rtf")
        other = self.row("audio", SPEAKERBEAM, PYTORCH_WHOLE).get("rtf")
        if not own or not other:
            return None
        return median(theirs / ours for theirs, ours in zip(other, own, strict=True))

    def start(self, name: str) -> float | None:
        """Median seconds of a command."""
        values = self.row("start", name).get("calls")
        return median(values) if values else None

    def training(self, name: str) -> Training | None:
        """Cost of a step of a network's training."""
        row = self.row("training", name)
        if not row:
            return None
        steps, teacher, windows = row["calls"], row["teacher"], row["windows"]
        seconds = median(steps)
        audio = row["facts"]["batch"] * row["facts"]["seconds"]
        return Training(
            seconds,
            1 / seconds,
            audio / seconds,
            median(t / s for t, s in zip(teacher, steps)),
            median((t + w) / (s + w) for t, s, w in zip(teacher, steps, windows)),
        )

    def facts(self, name: str) -> dict[str, Any]:
        """What the first row of a network that ran says of it."""
        ran = [row for row in self.rows("audio") if row["name"] == name]
        return next((row["facts"] for row in ran if row["facts"]), {})

    def bars(self) -> list[Bar]:
        """All demands."""
        return [
            *self._speed_bars(),
            *self._latency_bars(),
            *self._training_bars(),
            Bar(f"`{IMPORT}`", self.start(IMPORT), 0.3, "s"),
            Bar(f"`{HELP}`", self.start(HELP), 1.0, "s"),
        ]

    def _speed_bars(self) -> list[Bar]:
        bars = []
        for (name, runtime), limit in RTF_LIMITS.items():
            label = f"{name}, {runtime}"
            bars.append(Bar(f"{label}: RTF", self.rtf(name, runtime), limit))
            p99 = self.row("audio", name, runtime).get("hop_ms", {}).get("p99")
            hop = self.facts(name).get("hop_ms")
            if hop is not None:
                bars.append(Bar(f"{label}: p99 of a hop", p99, hop, "ms"))
        for name in ("mingru", "e3net_small"):
            what = f"{name}, {FP32}: times faster than {SPEAKERBEAM}'s whole pass"
            value = self.times_faster(name, FP32)
            bars.append(Bar(what, value, FASTER, least=True))
        return bars

    def _latency_bars(self) -> list[Bar]:
        return [
            Bar(
                f"{name}: algorithmic latency",
                self.facts(name).get("latency_ms"),
                LATENCY_LIMIT_MS,
                "ms",
            )
            for name in ("mingru", "e3net_small", "e3net")
        ]

    def _training_bars(self) -> list[Bar]:
        bars = []
        for row in self.rows("training"):
            found = self.training(row["name"])
            share = None if found is None else 100 * found.teacher
            bars.append(
                Bar(f"{row['name']}: teacher's share of a step", share, 15, "%")
            )
        what = "training outside of forward, backward and optimizer"
        logs = self.data["train_logs"]
        if not logs:
            return [*bars, Bar(what, None, 10, "%")]
        worst = max(logs, key=lambda log: log["outside"])
        return [*bars, Bar(f"{what}, worst log", 100 * worst["outside"], 10, "%")]
