"""The main figures by kind of room, sex and likeness of the voices."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.report.columns import main_columns
from espnet_pse_kd.report.differences import difference_table
from espnet_pse_kd.report.overview import system_row
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import Table

STRATA = {
    "By room": ("measured_room", {"False": "simulated", "True": "measured"}),
    "By sex": ("same_gender", {"True": "same sex", "False": "other sex"}),
    "By voice": ("similar", {"True": "similar voices", "False": "other voices"}),
}
"""Titles of the tables of parts of the trials; their column and its texts in words."""
SIMILAR_PART = 1 / 3
"""Part of the trials with an interferer whose voices count as similar."""


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
            system_row(f"{system}, {name}", chosen, columns, [])
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
