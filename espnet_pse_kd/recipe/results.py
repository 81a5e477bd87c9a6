"""``RESULTS.md``: score tables in ESPnet's form, rendered from ``exp/scores.csv``."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import math
import platform
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.kaldi import atomic_open
from espnet_pse_kd.metrics.intervals import (
    Interval,
    Statistic,
    bootstrap_interval,
    interval_of,
    mean,
    median,
    paired_difference,
    ratio,
    resampled,
    worst,
)
from espnet_pse_kd.metrics.leakage import CAP_DB
from espnet_pse_kd.metrics.suppression import HALF_HOUR
from espnet_pse_kd.recipe.checkout import git
from espnet_pse_kd.recipe.trials import System, blend_parts, read_csv, read_json

DASH = "-"
WER_LIMIT = 0.15
"""An ASR with more errors than this on the clean row says nothing about the others."""
IDLE = 0.01
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
_WORDS = ("word_errors", "word_deletions", "word_insertions")
NOTES = (
    "every cell: value [95 % interval], resampling target speakers and seeds jointly, "
    "2,000 draws; n is the column `speakers`, or stands in the cell",
    "paired differences: both systems' statistics on the same trials, under the same "
    "draws; bold where the interval leaves zero out",
    "TSOS is the scale-free form over target-active frames unless stated; an oracle "
    "Wiener mask scores on it too",
    "similar voices: the third of a scenario's trials whose two speakers have the most "
    "similar mean enrolment vectors (cosine, the mean of all speakers taken off)",
    "`s+0.1x`: dry blend, the output of `s` plus 0.1 times the mixture",
    "WER and DEL: one ASR for all rows, best CTC path, no language model",
    "DNSMOS: a fixed subset of the trials",
)
"""What a reader of the tables must know."""

STRATA = {
    "By room": ("measured_room", {"False": "simulated", "True": "measured"}),
    "By sex": ("same_gender", {"True": "same sex", "False": "other sex"}),
    "By voice": ("similar", {"True": "similar voices", "False": "other voices"}),
}
"""Titles of the tables of parts of the trials; their column and its texts in words."""
SIMILAR_PART = 1 / 3
"""Part of the trials with an interferer whose voices count as similar."""
MAIN_TITLES = ("SI-SDRi dB, median", "TSOS %", "deletion %", "reduction dB, median")
"""Columns that are also shown by kind of room and as differences between systems."""
COMPARED_TITLES = (*MAIN_TITLES, "TSOS %, all frames", "< 40 dB down, %", "STOI %")
"""Columns of the differences between systems over all trials."""
CONTROLS = ("c_shuffle", "c_shift", "c_constant", "r_log")
"""Methods that ``s`` must beat before its gate has shown anything (docs/method.md)."""
PAIRS = (
    *(("s", "b2"), ("b2", "b1"), ("b3", "b2"), ("h", "b2")),
    *(("s", control) for control in CONTROLS),
    # How much of the gate's effect is had without the teacher's choice.
    *(("c_shuffle", "b2"), ("c_constant", "b2"), ("c_shuffle", "c_constant")),
    *(("s_asym", "b3"), ("s_scratch", "b2_scratch"), ("s", "b2_its50")),
    # The lambda that the development sets choose, against the gate's likewise.
    *(("r_log_lambda0.1", other) for other in ("b2", "s", "s_kappa4")),
    ("r_log_asym_error_lambda0.1", "s"),
    *(("r_log_asym", other) for other in ("b1", "b2", "b3", "s")),
    *(("r_log_asym_error", other) for other in ("b1", "b2", "b3", "s", "r_log_asym")),
)
"""Paired differences that are shown, see `comparisons`."""
LINES = (("b1", "b2"), ("b2+0.1x", "b2"))
"""What lies between two rows: any mix of inactive-target samples, any dry blend."""
EXPERIMENTS = "Experiments"
"""Title of `experiment_table`, whose rows begin with experiment, system and seed."""


@dataclass(frozen=True)
class Table:
    """A table of texts, for Markdown and HTML alike.

    Attributes:
        title: its heading.
        header: headings of the columns.
        rows: texts, as many in each as the header has.
        note: what stands below it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self, level: int = 3) -> list[str]:
        """Lines of Markdown, with an empty one at the end."""
        body = [self.header, ["---"] * len(self.header), *self.rows]
        lines = [f"{'#' * level} {self.title}", ""]
        lines += [f"|{'|'.join(row)}|" for row in body]
        return [*lines, "", *([self.note, ""] if self.note else [])]


class Scores:
    """The rows of ``exp/scores.csv`` as columns, with NaN for what is undefined."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        self.rows = [
            {**row, "minutes": str(float(row["seconds"]) / 60)} for row in rows
        ]
        self._parts: dict[str, dict[str, Scores]] = {}

    def select(self, **wanted: str) -> Scores:
        """Rows whose columns have the wanted texts."""
        chosen = self
        for name, text in wanted.items():
            chosen = chosen._by(name).get(text) or self._of([])
        return chosen

    def _by(self, name: str) -> dict[str, Scores]:
        """The rows by the text of a column; kept, as every table selects them again."""
        if name not in self._parts:
            parts: dict[str, list[dict[str, str]]] = {}
            for row in self.rows:
                parts.setdefault(row[name], []).append(row)
            self._parts[name] = {text: self._of(rows) for text, rows in parts.items()}
        return self._parts[name]

    def where(self, wanted: Callable[[Mapping[str, str]], bool]) -> Scores:
        """Rows of which ``wanted`` is true."""
        return self._of([row for row in self.rows if wanted(row)])

    @classmethod
    def _of(cls, rows: list[dict[str, str]]) -> Scores:
        """Rows of another `Scores`, which have their derived columns already."""
        chosen = cls.__new__(cls)
        chosen.rows = rows
        chosen._parts = {}
        return chosen

    def column(self, name: str) -> np.ndarray:
        """Values (n,) of a column."""
        return np.array([float(row.get(name) or "nan") for row in self.rows])

    def names(self, name: str) -> list[str]:
        """Distinct texts of a column, in order of first appearance."""
        return list(dict.fromkeys(row[name] for row in self.rows))

    def systems(self) -> list[str]:
        """The systems but for dry blends, in order of first appearance."""
        return [name for name in self.names("system") if not blend_parts(name)[1]]

    def values(self, column: Column) -> np.ndarray:
        """What the statistic of a column sees: (n,), or (n, 2) for a ratio."""
        values = [np.minimum(self.column(key), column.cap) for key in column.keys]
        return values[0] if len(values) == 1 else np.stack(values, -1)

    def has(self, column: Column) -> bool:
        """Whether any row holds what the column shows."""
        return bool(np.isfinite(self.values(column)).any())

    def interval(self, column: Column) -> Interval:
        """Statistic and interval over speakers and seeds; NaN without rows."""
        if not self.rows:
            return Interval(math.nan, math.nan, math.nan, 0, 0)
        return bootstrap_interval(
            self.values(column), self.speakers(), self.seeds(), column.statistic
        )

    def difference(self, column: Column, rival: Scores) -> Interval:
        """What a column's statistic is above the rival's, over the trials of both.

        NaN where they share none, as trainings of different seeds do.
        """
        ours, theirs = (
            {(row["uid"], row["seed"]): row for row in scores.rows}
            for scores in (self, rival)
        )
        shared = [key for key in ours if key in theirs]
        if not shared:
            return Interval(math.nan, math.nan, math.nan, 0, 0)
        mine, other = (
            self._of([rows[key] for key in shared]) for rows in (ours, theirs)
        )
        return paired_difference(
            mine.values(column),
            other.values(column),
            mine.speakers(),
            mine.seeds(),
            column.statistic,
        )

    def speakers(self) -> list[str]:
        """Target speaker of every row."""
        return [row["target"] for row in self.rows]

    def seeds(self) -> list[int]:
        """Training seed of every row; 0 for a reference row, which has none."""
        return [int(row["seed"] or 0) for row in self.rows]


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


def word_note(scores: Scores, scenario: str) -> str | None:
    """Why the word error columns of a scenario show dashes; None where they count."""
    clean = scores.select(
        system="clean", scenario="ts2" if scenario == "ts3" else scenario
    )
    interval = clean.interval(Column("", ("word_errors", "words"), ratio))
    if not interval.trials:
        return "no ASR scores, or no transcripts"
    if not interval.value <= WER_LIMIT:
        return (
            f"the ASR has {interval.value:.0%} WER on the clean row, "
            f"above {WER_LIMIT:.0%}"
        )
    return None


def scenario_tables(scores: Scores, scenario: str) -> list[Table]:
    """The tables of one scenario, one per question, with the columns that apply."""
    chosen = scores.select(scenario=scenario)
    if not chosen.rows:
        return []
    tables = question_tables(chosen, scenario, word_note(scores, scenario))
    return [*tables, *stratum_tables(chosen, scenario)]


def question_tables(scores: Scores, scenario: str, note: str | None) -> list[Table]:
    """One table per question; word errors are dashes where ``note`` says why."""
    tables = []
    for title, every in TABLES.items():
        columns = [column for column in every if scenario in column.scenarios]
        if not columns:
            continue
        lost = [c for c in columns if note and c.keys[0] in _WORDS]
        rows = [
            _row(system, chosen, columns, lost)
            for system in scores.systems()
            if (chosen := scores.select(system=system)).rows
        ]
        header = ["system", "speakers", "trials", *(c.title for c in columns)]
        names = ", ".join(column.title for column in lost)
        why = f"{names}: dashes, because {note}." if lost else ""
        tables.append(Table(title, header, rows, why))
    return tables


def columns_called(titles: Collection[str], scenario: str) -> list[Column]:
    """The columns with these titles that a scenario has, in the tables' order."""
    every = (column for columns in TABLES.values() for column in columns)
    return [c for c in every if c.title in titles and scenario in c.scenarios]


def main_columns(scenario: str) -> list[Column]:
    """The few columns that answer the paper's question in a scenario."""
    return columns_called(MAIN_TITLES, scenario)


def side_by_side(
    title: str,
    scores: Scores,
    columns: Sequence[tuple[str, Column]],
    systems: Sequence[str] | None = None,
) -> Table:
    """One row per system, over all its seeds; columns of several scenarios.

    Args:
        title: of the table.
        scores: of all systems.
        columns: scenario and column of each cell.
        systems: the rows, default all but dry blends.
    """
    rows = []
    for name in scores.systems() if systems is None else systems:
        cells = []
        for scenario, column in columns:
            part = scores.select(system=name, scenario=scenario)
            speakers = len(set(part.speakers()))
            cells.append(cell(column, part.interval(column), speakers))
        seeds = " ".join(scores.select(system=name).names("seed"))
        rows.append([name, seeds or DASH, *cells])
    header = ["system", "seeds", *(f"{s.upper()} {c.title}" for s, c in columns)]
    return Table(title, header, rows)


def main_figures(scores: Scores) -> list[tuple[str, Column]]:
    """`main_columns` of every scenario that there is, with their scenario."""
    return [
        (scenario, column)
        for scenario in SCENARIOS
        if scenario in scores.names("scenario")
        for column in main_columns(scenario)
    ]


def blend_table(scores: Scores) -> list[Table]:
    """The main figures of the dry blends below those of their systems, if any."""
    names = sorted(scores.names("system"), key=lambda name: blend_parts(name)[1])
    blended = dict.fromkeys(blend_parts(n)[0] for n in names if blend_parts(n)[1])
    rows = [n for system in blended for n in names if blend_parts(n)[0] == system]
    if not rows:
        return []
    audible = [("ts3", c) for c in columns_called(["< 40 dB down, %"], "ts3")]
    figures = [*main_figures(scores), *audible]
    return [side_by_side("Dry blends", scores, figures, rows)]


def line_table(scores: Scores) -> list[Table]:
    """How far each system lies from the straight lines of `LINES`, if they are there.

    A trade-off is broken by what lies below its line: deletion less than the line has
    at the system's reduction in TS3. Of the latter the mean, because a median moves in
    steps too large for a slope. A row is compared on the training seeds that it shares
    with the line, and where its reduction lies between the ends.
    """
    lines = [line for line in LINES if set(line) <= set(scores.names("system"))]
    header = ["system", "seeds"]
    header += [f"{s.upper()}, {a} to {b}" for a, b in lines for s in ("ts1", "ts2")]
    rows = []
    for name in scores.systems():
        seeds = scores.select(system=name).names("seed")
        cells = [
            _line_cell(scores, name, seeds, line, scenario)
            for line in lines
            for scenario in ("ts1", "ts2")
        ]
        if any(text != DASH for text in cells):
            rows.append([name, " ".join(seeds), *cells])
    note = (
        "Points of deletion above the straight line, at the system's mean reduction "
        f"in TS3; below zero is better. {DASH}: an end of the line, or more or less "
        "reduction than both."
    )
    return [Table("Distance from the trade-off", header, rows, note)] if rows else []


def _line_cell(
    scores: Scores, name: str, seeds: list[str], line: tuple[str, str], scenario: str
) -> str:
    """Deletion in a scenario, above a line at the system's reduction in TS3."""
    if name in line:
        return DASH
    shared = [
        seed
        for seed in seeds
        if seed and all(seed in scores.select(system=e).names("seed") for e in line)
    ]
    [x] = columns_called(["reduction dB, mean"], "ts3")
    [y] = columns_called(["deletion %"], scenario)
    drawn, speakers = [], set(scores.speakers())
    for system in (name, *line):
        chosen = scores.select(system=system).where(lambda row: row["seed"] in shared)
        for column, of in ((x, "ts3"), (y, scenario)):
            part = chosen.select(scenario=of)
            values = part.values(column)
            if set(part.speakers()) != speakers or not np.isfinite(values).all():
                return DASH
            draw = resampled(values, part.speakers(), part.seeds(), column.statistic)
            drawn.append(draw)
    reduction, deletion, start, lost, end, most = drawn
    place = (reduction - start) / (end - start)
    if not 0 <= place[0] <= 1:
        return DASH
    above = deletion - lost - place * (most - lost)
    return _sure(y, interval_of(above, len(speakers), len(part.rows)), len(speakers))


def card_table(title: str, scenario: str, systems: Mapping[str, Scores]) -> Table:
    """The main figures, and the change of level, of a few systems."""
    level = next(c for c in TABLES["Separation"] if c.keys == ("level_change",))
    columns = [*main_columns(scenario), *([level] if scenario == "ts0" else [])]
    header = ["system", "speakers", "trials", *(column.title for column in columns)]
    rows = [_row(name, scores, columns, []) for name, scores in systems.items()]
    return Table(title, header, rows)


def mark_similar(scores: Scores) -> Scores:
    """The trials with an interferer, their column ``similar`` saying True or False.

    Args:
        scores: of one scenario. Trials, not rows, decide where the similar third
            begins, so that every system has the same ones.
    """
    known = {
        (row["set"], row["uid"]): float(text)
        for row in scores.rows
        if (text := row.get("voice_similarity"))
    }
    if not known:
        return scores.where(lambda row: False)
    limit = np.quantile([*known.values()], 1 - SIMILAR_PART)
    return Scores(
        [
            {**row, "similar": str(bool(known[key] >= limit))}
            for row in scores.rows
            if (key := (row["set"], row["uid"])) in known
        ]
    )


def strata(scores: Scores) -> dict[str, dict[str, Scores]]:
    """Parts of one scenario's trials, by title and name, where there are several."""
    divided = {}
    for title, (column, names) in STRATA.items():
        whole = mark_similar(scores) if column == "similar" else scores
        if not all(column in row for row in whole.rows):
            continue
        parts = {
            name: part
            for text, name in names.items()
            if (part := whole.select(**{column: text})).rows
        }
        if len(parts) > 1:
            divided[title] = parts
    return divided


def stratum_tables(scores: Scores, scenario: str) -> list[Table]:
    """The main figures by kind of room, sex and likeness of the voices."""
    columns = main_columns(scenario)
    tables = []
    for title, parts in strata(scores).items():
        rows = [
            _row(f"{system}, {name}", chosen, columns, [])
            for system in scores.systems()
            for name, part in parts.items()
            if (chosen := part.select(system=system)).rows
        ]
        header = [f"system, {title.removeprefix('By ')}", "speakers", "trials"]
        header += [column.title for column in columns]
        tables.append(Table(title, header, rows))
    return tables


def stratum_differences(scores: Scores, scenario: str) -> list[Table]:
    """`difference_table` of the parts of a scenario's trials, a table per division."""
    tables = []
    for title, parts in strata(scores.select(scenario=scenario)).items():
        found = [
            (name, table)
            for name, part in parts.items()
            for table in difference_table(part, scenario)
        ]
        rows = [
            [f"{pair}, {name}", *cells]
            for name, table in found
            for pair, *cells in table.rows
        ]
        if rows:
            tables.append(
                Table(f"Differences {title.lower()}", found[0][1].header, rows)
            )
    return tables


def comparisons(systems: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of `PAIRS` that are among the systems, within each configuration.

    A system is called by its method, or ``<configuration>_<method>`` where there are
    several configurations, see `trials.find_systems`.
    """
    heads = dict.fromkeys(
        name.removesuffix(method)
        for name in systems
        for method, _ in PAIRS
        if name == method or name.endswith(f"_{method}")
    )
    pairs = [(head + one, head + rival) for head in heads for one, rival in PAIRS]
    return [pair for pair in pairs if set(pair) <= set(systems)]


def difference_table(scores: Scores, scenario: str) -> list[Table]:
    """Paired differences of the main figures, where there is something to compare."""
    measured = scores.select(scenario=scenario)
    # The input of TS0 is the target itself: there is nothing to gain.
    own = ("SI-SDR dB, median",) if scenario == "ts0" else ()
    titles = (*own, *COMPARED_TITLES)
    columns = [c for c in columns_called(titles, scenario) if measured.has(c)]
    rows = []
    for one, rival in comparisons(scores.names("system")):
        pair = [scores.select(scenario=scenario, system=n) for n in (one, rival)]
        if not all(part.rows for part in pair):
            continue
        cells = [_difference_cell(column, *pair) for column in columns]
        rows.append([f"{one} - {rival}", *cells])
    if not rows:
        return []
    header = ["systems", *(column.title for column in columns)]
    return [Table(scenario.upper(), header, rows)]


def ablation_tables(
    scores: Scores,
    figures: Sequence[tuple[str, Column]],
    parents: Mapping[str, str],
) -> list[Table]:
    """The rows of an ablation, and what each is above the system that it varies.

    What `comparisons` compares follows.

    Args:
        scores: of all systems.
        figures: scenario and column of each cell.
        parents: what each variation varies; those without scores are left out.
    """
    systems = scores.systems()
    pairs = [(n, p) for n, p in parents.items() if n in systems and p in systems]
    compared = dict.fromkeys([*pairs, *comparisons(systems)])
    if not compared:
        return []
    rows = []
    for name, parent in compared:
        cells = []
        for scenario, column in figures:
            ours, theirs = (
                scores.select(system=one, scenario=scenario) for one in (name, parent)
            )
            cells.append(_difference_cell(column, ours, theirs))
        rows.append([f"{name} - {parent}", *cells])
    header = ["systems", *(f"{s.upper()} {c.title}" for s, c in figures)]
    return [
        side_by_side("Ablation: systems", scores, figures),
        Table("Ablation: differences", header, rows),
    ]


def difference_tables(scores: Scores) -> list[Table]:
    """`difference_table` of every scenario."""
    return [
        table for scenario in SCENARIOS for table in difference_table(scores, scenario)
    ]


def _difference_cell(column: Column, ours: Scores, theirs: Scores) -> str:
    """What a column is above the rival's, see `_sure`."""
    return _sure(column, ours.difference(column, theirs), len(set(ours.speakers())))


def _sure(column: Column, interval: Interval, speakers: int) -> str:
    """A difference and its interval; bold where the interval leaves zero out."""
    finer = dataclasses.replace(column, digits=column.digits + 1)
    text = cell(finer, interval, speakers)
    # By what is printed: a bold zero would be no news.
    low, high = (float(number(finer, end)) for end in (interval.low, interval.high))
    sure = low > 0 or high < 0
    return f"**{text}**" if sure else text


def _row(
    name: str, scores: Scores, columns: Sequence[Column], lost: Sequence[Column]
) -> list[str]:
    speakers = len(set(scores.speakers()))
    cells = [
        DASH if column in lost else cell(column, scores.interval(column), speakers)
        for column in columns
    ]
    return [name, str(speakers), str(len(scores.rows)), *cells]


_EPOCH = re.compile(r"(\d+)epoch results: (.+)")
_FIGURE = re.compile(r"\b(\w+)=(nan|-?inf|[-+.\de]+)")


def training_log(folder: Path) -> dict[int, dict[str, float]]:
    """Figures of every epoch in the log of a training, named ``phase.key``.

    An epoch that a killed training repeated counts as it was at last.
    """
    log = folder / "train.log"
    if not log.is_file():
        return {}
    epochs = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if found := _EPOCH.search(line):
            phases = re.split(r"\[(train|valid)\]", found[2])
            epochs[int(found[1])] = {
                f"{phase}.{key}": float(value)
                for phase, text in zip(phases[1::2], phases[2::2])
                for key, value in _FIGURE.findall(text)
            }
    return epochs


def training_facts(folder: Path) -> dict[str, Any]:
    """``steps``, ``closed`` and ``weight`` of a training, as far as its log says them.

    ``closed`` is the share of gated frames with a weight below 0.5 in the last epoch,
    ``weight`` their mean weight.
    """
    epochs = training_log(folder)
    last = epochs[max(epochs)] if epochs else {}
    facts: dict[str, Any] = {}
    if "train.total_count" in last:
        facts["steps"] = int(last["train.total_count"])
    for fact in ("closed", "weight"):
        if f"train.gate_{fact}" in last:
            facts[fact] = last[f"train.gate_{fact}"]
    return facts


def trunk_of(folder: Path) -> Path | None:
    """Folder of the training from which this one was forked, if it was."""
    config = folder / "train_config.yaml"
    if not config.is_file():
        return None
    origin = re.search(r"^fork_checkpoint: (.+)$", config.read_text(), re.MULTILINE)
    return folder.parent / Path(origin[1]).parent.name if origin else None


def effort_cells(folder: Path) -> list[str]:
    """Steps and wall time of a training; what its trunk took stands behind a plus."""
    folders = [folder, *filter(None, [trunk_of(folder)])]
    steps = [str(training_facts(one).get("steps", DASH)) for one in folders]
    walls = [read_json(one / "run.json").get("wall_seconds") for one in folders]
    return [" + ".join(steps), " + ".join(_duration(wall) for wall in walls)]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def gate_cell(closed: float | None, weight: float | None) -> str:
    """Share of gated frames with w < 0.5 and their mean weight.

    The cell is marked where the gate does next to nothing. The mean weight decides, if
    the log has it: a constant gate acts on every frame and closes none.
    """
    if closed is None:
        return DASH
    mean = "" if weight is None else f", mean w {weight:.2f}"
    effect = closed if weight is None else 1 - weight
    mark = " (gate idle)" if effect < IDLE else ""
    return f"{100 * closed:.1f} %{mean}{mark}"


def experiment_table(systems: Sequence[System]) -> list[Table]:
    """One line per trained experiment: how it came about."""
    rows = []
    for system in systems:
        if system.is_reference:
            continue
        run = read_json(system.folder / "run.json")
        facts = training_facts(system.folder)
        rows.append(
            [
                f"`{system.folder.name}`",
                system.name,
                str(system.seed),
                *effort_cells(system.folder),
                str(run.get("commit") or DASH),
                gate_cell(facts.get("closed"), facts.get("weight")),
                f"`{system.folder.name}/config.yaml`"
                if (system.folder / "config.yaml").is_file()
                else DASH,
            ]
        )
    if not rows:
        return []
    header = ["experiment", "system", "seed", "steps (own + trunk's)"]
    header += ["wall time (own + trunk's)", "commit"]
    header += ["gated frames with w < 0.5", "config"]
    return [Table(EXPERIMENTS, header, rows)]


def teacher_table(*scored: Path) -> list[Table]:
    """Scores of the personal VADs that were scored on the same sets.

    Args:
        scored: ``exp/scores.csv``, one or several; the teachers' are
            ``pvad_*/teacher_scores.json`` beside it.
    """
    rows = []
    for path in (
        path
        for one in scored
        for path in sorted(one.parent.glob(f"pvad_*/teacher_{one.stem}.json"))
    ):
        scores = read_json(path)
        for name, part in [*scores["scenarios"].items(), ("all", scores["all"])]:
            ap = part["average_precision"]
            numbers = [*(ap[k] for k in ("ns", "ntss", "tss")), part["auc"]]
            numbers.append(part["calibration_error"])
            rows.append(
                [path.parent.name, name.upper(), str(part["frames"])]
                + [_number(value) for value in numbers]
            )
    if not rows:
        return []
    header = ["teacher", "scenario", "frames", "AP ns", "AP ntss", "AP tss"]
    header += ["AUC tss vs ntss", "calibration error"]
    return [Table("Teacher", header, rows)]


def _number(value: float | None) -> str:
    return DASH if value is None or not math.isfinite(value) else f"{value:.3f}"


def environments() -> dict[str, str]:
    """ESPnet's section on date, versions and commit."""
    return {
        "date": f"{datetime.datetime.now().astimezone():%a %b %d %H:%M:%S %Z %Y}",
        "python version": platform.python_version(),
        "espnet version": f"espnet {_version('espnet')}",
        "pytorch version": f"pytorch {_version('torch')}",
        "espnet_pse_kd version": _version("espnet_pse_kd"),
        "Git hash": git("rev-parse", "HEAD") or DASH,
        "Commit date": git("log", "-1", "--format=%cd") or DASH,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return DASH


def training_mix(options: Mapping[str, Any]) -> str:
    """The training mix in one line, from what stage 2 left in ``simulation.json``."""
    if not options:
        return "not known, the simulated data came without simulation.json"
    names = ("ts0", "ts1", "ts2", "its")
    total = sum(options[name] for name in names)
    shares = [f"{name.upper()} {100 * options[name] / total:.0f} %" for name in names]
    ranges = [
        f"{title} {options[name][0]:g}..{options[name][1]:g} {unit}"
        for title, name, unit in (
            ("SNR", "snr", "dB"),
            ("SIR", "sir", "dB"),
            ("level", "level", "dBFS"),
        )
    ]
    voices = "speeds " + ", ".join(f"{speed:g}" for speed in options["speeds"])
    if options.get("formants", [1]) != [1]:
        ratios = ", ".join(f"{ratio:g}" for ratio in options["formants"])
        voices += f", formants times {ratios}"
    augmentation = ""
    if options.get("noise_speed", [1, 1]) != [1, 1]:
        slow, fast = options["noise_speed"]
        augmentation += f"noise at speeds {slow:g}..{fast:g}; "
    if options.get("second_noise"):
        augmentation += f"a second noise in {100 * options['second_noise']:.0f} %; "
    if options.get("equalizer"):
        augmentation += f"equalizers of +-{options['equalizer']:g} dB; "
    if options.get("dry_share"):
        augmentation += f"no room in {100 * options['dry_share']:.0f} %; "
    return (
        f"{', '.join(shares)} (b1: ITS share goes to TS2), {', '.join(ranges)}; "
        f"speech at {voices}; {augmentation}"
        f"{options['sizes']['train']} samples of "
        f"{options['seconds']:g} s"
    )


def write_results(
    scored: Path,
    systems: Sequence[System],
    output: Path,
    command: str,
    training_mix: str,
) -> None:
    """Render ``RESULTS.md``.

    Args:
        scored: ``exp/scores.csv``, beside the experiments and the teachers.
        systems: rows, in the order of the tables.
        output: file to write.
        command: the command that made the scores, as a user would repeat it.
        training_mix: the proportions of the training data, one line.
    """
    scores = Scores(read_csv(scored))
    lines = ["<!-- Generated by python -m espnet_pse_kd.bin.score -->", "# RESULTS", ""]
    lines += ["## Environments", ""]
    lines += [f"- {k}: `{v}`" for k, v in environments().items()]
    lines += ["", "## Set-up", "", f"- command: `{command}`"]
    lines += [f"- training mix: {training_mix}", *(f"- {note}" for note in NOTES), ""]
    for one in experiment_table(systems) + teacher_table(scored):
        lines += one.markdown(level=2)
    lines += score_lines(scores)
    with atomic_open(output) as file:
        file.write("\n".join(lines).rstrip() + "\n")


def score_lines(scores: Scores) -> list[str]:
    """Markdown of all that the scores say: differences, then every scenario."""
    lines = section("Paired differences", difference_tables(scores))
    tables = [*line_table(scores), *blend_table(scores)]
    lines += [line for one in tables for line in one.markdown(level=2)]
    for scenario, meaning in SCENARIOS.items():
        title = f"{scenario.upper()}: {meaning}"
        lines += section(title, scenario_tables(scores, scenario))
    return lines


def section(title: str, tables: Sequence[Table], level: int = 2) -> list[str]:
    """Markdown of a heading and its tables; nothing where there are none."""
    if not tables:
        return []
    body = [line for table in tables for line in table.markdown(level + 1)]
    return [f"{'#' * level} {title}", "", *body]
