"""The trade-off between leakage and deletion: dry blends, and straight lines."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.metrics.intervals import interval_of, resampled
from espnet_pse_kd.report.columns import columns_called
from espnet_pse_kd.report.differences import difference_text
from espnet_pse_kd.report.overview import main_figures, side_by_side
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import DASH, Table
from espnet_pse_kd.report.trials import blend_parts

LINES = (("b1", "b2"), ("b2+0.1x", "b2"))
"""What lies between two rows: any mix of inactive-target samples, any dry blend."""


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
    return difference_text(
        y, interval_of(above, len(speakers), len(part.rows)), len(speakers)
    )
