"""Systems side by side, by the few figures that answer the paper's question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from espnet_pse_kd.report.columns import SCENARIOS, TABLES, Column, cell, main_columns
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import DASH, Table


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


def card_table(title: str, scenario: str, systems: Mapping[str, Scores]) -> Table:
    """The main figures, and the change of level, of a few systems."""
    level = next(c for c in TABLES["Separation"] if c.keys == ("level_change",))
    columns = [*main_columns(scenario), *([level] if scenario == "ts0" else [])]
    header = ["system", "speakers", "trials", *(column.title for column in columns)]
    rows = [system_row(name, scores, columns, []) for name, scores in systems.items()]
    return Table(title, header, rows)


def system_row(
    name: str, scores: Scores, columns: Sequence[Column], lost: Sequence[Column]
) -> list[str]:
    """Cells of a row: name, number of speakers and of trials, then the columns.

    Args:
        name: of the row.
        scores: its own.
        columns: what is shown.
        lost: those of them that are dashes, whatever the scores hold.
    """
    speakers = len(set(scores.speakers()))
    cells = [
        DASH if column in lost else cell(column, scores.interval(column), speakers)
        for column in columns
    ]
    return [name, str(speakers), str(len(scores.rows)), *cells]
