"""Columns of the score tables: what is shown where, and how it is printed."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from espnet_pse_kd.metrics.intervals import (
    Interval,
    Statistic,
    mean,
    median,
    ratio,
    worst,
)
from espnet_pse_kd.metrics.leakage import CAP_DB
from espnet_pse_kd.metrics.suppression import HALF_HOUR
from espnet_pse_kd.report.tables import DASH

SCENARIOS = {
    "ts0": "clean target",
    "ts1": "target + noise",
    "ts2": "target + interferer + noise",
    "ts3": "target silent, interferer + noise",
}
_TARGET = ("ts0", "ts1", "ts2")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its heading.
        keys: column of ``scores.csv``, or numerator and denominator of a ratio.
        statistic: of the values over trials.
        scenarios: where it is defined; elsewhere a dash.
        scale: factor of the printed value.
        digits: after the point.
        cap: values are capped here before the statistic.
    """

    title: str
    keys: tuple[str, ...]
    statistic: Statistic = mean
    scenarios: tuple[str, ...] = _TARGET
    scale: float = 1.0
    digits: int = 1
    cap: float = math.inf


_MIXED = ("ts1", "ts2")
_LEAKY = ("ts2", "ts3")
_HALF_HOUR: dict[str, Any] = {"scale": HALF_HOUR, "digits": 0}
_PERCENT: dict[str, Any] = {"scale": 100.0}

TABLES: dict[str, tuple[Column, ...]] = {
    "Separation": (
        Column("SI-SDR dB, median", ("si_sdr",), median),
        Column("SI-SDRi dB, median", ("si_sdri",), median, _MIXED),
        Column("SI-SDRi dB, mean", ("si_sdri",), mean, _MIXED),
        Column("SI-SDRi dB, worst 5 %", ("si_sdri",), worst, _MIXED),
        Column("failure %", ("failure",), mean, _MIXED, **_PERCENT),
        Column("wrong speaker %", ("wrong_speaker",), mean, ("ts2",), **_PERCENT),
        Column("level change dB, median", ("level_change",), median),
    ),
    "Over-suppression": (
        Column("TSOS %", ("tsos",), **_PERCENT),
        Column("TSOS s per 30 min", ("tsos",), **_HALF_HOUR),
        Column("TSOS %, local SNR < 0 dB", ("tsos_low_snr",), mean, _MIXED, **_PERCENT),
        Column("TSOS %, local SNR >= 0 dB", ("tsos_high_snr",), **_PERCENT),
        Column("deletion %", ("deletion",), **_PERCENT),
        Column("TSOS %, all frames", ("tsos_all",), **_PERCENT),
        Column("TSOS s per 30 min, all frames", ("tsos_all",), **_HALF_HOUR),
        Column("TSOS % as printed", ("tsos_printed",), **_PERCENT),
        Column(
            "TSOS s per 30 min as printed, all frames",
            ("tsos_printed_all",),
            **_HALF_HOUR,
        ),
    ),
    "Leakage": (
        Column(
            "reduction dB, median",
            ("leakage_reduction",),
            median,
            _LEAKY,
            cap=CAP_DB,
        ),
        Column("reduction dB, mean", ("leakage_reduction",), mean, _LEAKY, cap=CAP_DB),
        Column(
            "reduction dB, median, uncapped", ("leakage_reduction",), median, _LEAKY
        ),
        Column("< 40 dB down, %", ("leak_audible",), mean, _LEAKY, **_PERCENT),
    ),
    "Quality and recognition": (
        Column("STOI %", ("stoi",), **_PERCENT),
        Column("DNSMOS OVRL", ("dnsmos_ovrl",), digits=2),
        Column("SIG", ("dnsmos_sig",), digits=2),
        Column("BAK", ("dnsmos_bak",), digits=2),
        Column("P.808", ("dnsmos_p808",), digits=2),
        Column("pDNSMOS OVRL", ("dnsmos_povrl",), digits=2),
        Column("DistillMOS", ("distillmos",), digits=2),
        Column("WER %", ("word_errors", "words"), ratio, **_PERCENT),
        Column("DEL %", ("word_deletions", "words"), ratio, **_PERCENT),
        Column(
            "inserted words per min",
            ("word_insertions", "minutes"),
            ratio,
            ("ts3",),
        ),
    ),
}

MAIN_TITLES = ("SI-SDRi dB, median", "TSOS %", "deletion %", "reduction dB, median")
"""Columns that are also shown by kind of room and as differences between systems."""
COMPARED_TITLES = (*MAIN_TITLES, "TSOS %, all frames", "< 40 dB down, %", "STOI %")
"""Columns of the differences between systems over all trials."""


def number(column: Column, value: float) -> str:
    """A value of a column as it is printed; there is no minus zero."""
    return f"{round(column.scale * value, column.digits) + 0.0:.{column.digits}f}"


def cell(column: Column, interval: Interval, speakers: int) -> str:
    """``value [low, high]``, and n where it is below ``speakers``; or a dash."""
    if not math.isfinite(interval.value):
        return DASH
    value, low, high = (
        number(column, end) for end in (interval.value, interval.low, interval.high)
    )
    fewer = f" (n={interval.speakers})" if interval.speakers < speakers else ""
    return f"{value} [{low}, {high}]{fewer}"


def columns_called(titles: Collection[str], scenario: str) -> list[Column]:
    """The columns with these titles that a scenario has, in the tables' order."""
    every = (column for columns in TABLES.values() for column in columns)
    return [c for c in every if c.title in titles and scenario in c.scenarios]


def main_columns(scenario: str) -> list[Column]:
    """The few columns that answer the paper's question in a scenario."""
    return columns_called(MAIN_TITLES, scenario)
