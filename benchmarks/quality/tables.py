"""What was found, as Markdown tables with intervals over speakers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.metrics.intervals import (
    Statistic,
    bootstrap_interval,
    mean,
    median,
    ratio,
)

Row = dict[str, Any]
CLOSE_DB = 2.5
"""A target is quieter or louder where the other voice differs by more."""
CAP_DB = 60.0
MOST_WER = 0.15


def everything(row: Row) -> bool:
    """A row of any kind."""
    return True


class Figure(NamedTuple):
    """A column of a table.

    Attributes:
        heading: of the column.
        keys: of the rows; two for a ratio of sums.
        statistic: of their values.
        where: which rows count.
        factor: what the statistic is multiplied by. digits: after the point.
        cap: values are capped here.
    """

    heading: str
    keys: tuple[str, ...]
    statistic: Statistic = mean
    where: Callable[[Row], bool] = everything
    factor: float = 1.0
    digits: int = 1
    cap: float = math.inf

    def cell(self, rows: Sequence[Row]) -> str:
        """``value [low, high]``, and n in brackets; a dash without values."""
        chosen = [row for row in rows if self.where(row) and self._known(row)]
        if not chosen:
            return "-"
        values = np.array([[row[key] for key in self.keys] for row in chosen], float)
        values = np.minimum(values, self.cap)
        found = bootstrap_interval(
            values[:, 0] if len(self.keys) == 1 else values,
            [row["target"] for row in chosen],
            statistic=self.statistic,
        )
        ends = [self.factor * end for end in (found.value, found.low, found.high)]
        value, low, high = (
            f"{round(end, self.digits) + 0.0:.{self.digits}f}" for end in ends
        )
        return f"{value} [{low}, {high}]"

    def _known(self, row: Row) -> bool:
        return all(row.get(key) is not None for key in self.keys)


def table(rows: Sequence[Row], figures: Sequence[Figure], title: str) -> list[str]:
    """Lines of a table: a row for each system, with the number of its trials."""
    figures = [f for f in figures if any(f.cell([row]) != "-" for row in rows)]
    lines = ["", f"### {title}", ""]
    lines.append("|".join(["", "system", "n", *(f.heading for f in figures), ""]))
    lines.append("|---" * (len(figures) + 2) + "|")
    for name in dict.fromkeys(row["system"] for row in rows):
        own = [row for row in rows if row["system"] == name]
        cells = [figure.cell(own) for figure in figures]
        lines.append("|".join(["", name, str(len(own)), *cells, ""]))
    return lines


def _sexes(same: bool) -> Callable[[Row], bool]:
    return lambda row: (len(set(row["sexes"])) == 1) == same


def _quieter(row: Row) -> bool:
    return row["sir"] < -CLOSE_DB


def _close(row: Row) -> bool:
    return abs(row["sir"]) <= CLOSE_DB


def _louder(row: Row) -> bool:
    return row["sir"] > CLOSE_DB


_SEPARATION = (
    Figure("SI-SDRi dB, mean", ("si_sdri",)),
    Figure("median", ("si_sdri",), median),
    Figure("same sex, mean", ("si_sdri",), where=_sexes(True)),
    Figure("other sex, mean", ("si_sdri",), where=_sexes(False)),
    Figure("quieter target, mean", ("si_sdri",), where=_quieter),
    Figure("equal, mean", ("si_sdri",), where=_close),
    Figure("louder, mean", ("si_sdri",), where=_louder),
)
_CHOICE = (
    Figure("wrong voice %", ("wrong_speaker",), factor=100),
    Figure("same sex", ("wrong_speaker",), where=_sexes(True), factor=100),
    Figure("other sex", ("wrong_speaker",), where=_sexes(False), factor=100),
    Figure("quieter target", ("wrong_speaker",), where=_quieter, factor=100),
    Figure("equal", ("wrong_speaker",), where=_close, factor=100),
    Figure("louder", ("wrong_speaker",), where=_louder, factor=100),
    Figure("both right %", ("both_right",), factor=100),
    Figure("made worse %", ("failure",), factor=100),
    Figure("right voice only, SI-SDRi dB", ("right_si_sdri",)),
)


def libri2mix(rows: Sequence[Row]) -> list[str]:
    """Two tables for each mode: how much, and whose voice."""
    lines = []
    for mode in dict.fromkeys(row["scenario"] for row in rows):
        own = with_pairs([row for row in rows if row["scenario"] == mode])
        name = f"Libri2Mix test mix_clean, 16 kHz {mode}"
        lines += table(own, _SEPARATION, f"{name}: improvement")
        lines += table(own, _CHOICE, f"{name}: whose voice")
    return lines


def with_pairs(rows: Sequence[Row]) -> list[Row]:
    """Rows with ``both_right``: neither target of the mixture got the wrong voice.

    ``right_si_sdri`` is the improvement where the voice is right.
    """
    wrong: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        wrong.setdefault((row["system"], row["mixture"]), []).append(
            row["wrong_speaker"]
        )
    return [
        {
            **row,
            "both_right": float(not any(wrong[row["system"], row["mixture"]])),
            "right_si_sdri": None if row["wrong_speaker"] else row["si_sdri"],
        }
        for row in rows
    ]


def _silent(row: Row) -> bool:
    return row.get("words") == 0


def _spoken(row: Row) -> bool:
    return bool(row.get("words"))


_SCENARIO = (
    Figure("SI-SDRi dB, mean", ("si_sdri",)),
    Figure("median", ("si_sdri",), median),
    Figure("made worse %", ("failure",), factor=100),
    Figure("wrong voice %", ("wrong_speaker",), factor=100),
    Figure("TSOS %", ("tsos",), factor=100),
    Figure("deletion %", ("deletion",), factor=100),
    Figure("level dB", ("level_change",)),
    Figure("STOI %", ("stoi",), factor=100),
    Figure("reduction dB, median", ("leakage_reduction",), median, cap=CAP_DB),
    Figure("< 40 dB down, %", ("leak_audible",), factor=100),
)
_QUALITY = (
    Figure("WER %", ("word_errors", "words"), ratio, _spoken, 100),
    Figure("DEL %", ("word_deletions", "words"), ratio, _spoken, 100),
    Figure("inserted words per min", ("word_insertions", "minutes"), ratio, _silent),
    Figure("DistillMOS", ("distillmos",), digits=2),
    Figure("DNSMOS OVRL", ("dnsmos_ovrl",), digits=2),
    Figure("SIG", ("dnsmos_sig",), digits=2),
    Figure("BAK", ("dnsmos_bak",), digits=2),
    Figure("P.808", ("dnsmos_p808",), digits=2),
)


def scenarios(rows: Sequence[Row]) -> list[str]:
    """Two tables for each scenario: signals; words and predicted quality."""
    lines = []
    for name in dict.fromkeys(row["scenario"] for row in rows):
        own = [
            {**row, "minutes": row["seconds"] / 60}
            for row in rows
            if row["scenario"] == name
        ]
        lines += table(own, _SCENARIO, name.upper())
        heard = len({row["uid"] for row in own if row.get("words") is not None})
        rated = any(row.get("distillmos") is not None for row in own)
        if heard or rated:
            said = f" (words: {heard} trials with a known text)" if heard else ""
            lines += table(own, _QUALITY, f"{name.upper()}: words and quality{said}")
    return lines


_SHORT = (
    Figure("rejected %", ("rejected",), factor=100),
    Figure(
        "0.3 to 0.6 s", ("rejected",), where=lambda r: r["speech"] < 0.6, factor=100
    ),
    Figure("0.6 to 1 s", ("rejected",), where=lambda r: r["speech"] >= 0.6, factor=100),
    Figure("TSOS %", ("tsos",), factor=100),
    Figure("level dB, median", ("level_change",), median),
    Figure(
        "reduction before it dB, median", ("leakage_reduction",), median, cap=CAP_DB
    ),
)
REJECTED = 0.5
"""Share of an utterance's active frames that are over-suppressed where it is lost."""


def short(rows: Sequence[Row]) -> list[str]:
    """One table for each of what goes before."""
    lines = []
    for name in dict.fromkeys(row["scenario"] for row in rows):
        own = [
            {**row, "rejected": float(row["tsos"] > REJECTED)}
            for row in rows
            if row["scenario"] == name
        ]
        lines += table(own, _SHORT, f"Short utterances after {name}")
    return lines


TABLES = {"libri2mix": libri2mix, "scenarios": scenarios, "short": short}
