"""Paired differences between systems: on the same trials, under the same draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from espnet_pse_kd.metrics.intervals import Interval
from espnet_pse_kd.report.columns import (
    COMPARED_TITLES,
    SCENARIOS,
    Column,
    cell,
    columns_called,
    number,
)
from espnet_pse_kd.report.overview import side_by_side
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import Table

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
    """What a column is above the rival's, see `difference_text`."""
    return difference_text(
        column, ours.difference(column, theirs), len(set(ours.speakers()))
    )


def difference_text(column: Column, interval: Interval, speakers: int) -> str:
    """A difference and its interval; bold where the interval leaves zero out."""
    finer = dataclasses.replace(column, digits=column.digits + 1)
    text = cell(finer, interval, speakers)
    # By what is printed: a bold zero would be no news.
    low, high = (float(number(finer, end)) for end in (interval.low, interval.high))
    sure = low > 0 or high < 0
    return f"**{text}**" if sure else text
