"""The rows of ``exp/scores.csv``: their parts, and statistics with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from espnet_pse_kd.metrics.intervals import (
    Interval,
    bootstrap_interval,
    paired_difference,
)
from espnet_pse_kd.report.columns import Column
from espnet_pse_kd.report.trials import blend_parts


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
