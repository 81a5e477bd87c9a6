"""Curves of the report: operating points of the systems, figures over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_pse_kd.metrics.intervals import Interval
from espnet_pse_kd.report.columns import main_columns
from espnet_pse_kd.report.experiments import training_log, trunk_of
from espnet_pse_kd.report.figures import Curve, Panel, Point
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.trials import System, blend_parts

_CURVES = {
    "Validation loss": "valid.loss",
    "Validation SI-SDRi, dB": "valid.si_sdri",
    "Gated frames with w < 0.5": "train.gate_closed",
}


def operating_panels(scores: Scores) -> list[Panel]:
    """TSOS and deletion in TS1 and TS2 against the leakage reduction in TS3."""
    leak = next(c for c in main_columns("ts3") if "reduction" in c.title)
    silent = scores.select(scenario="ts3")
    panels = []
    for scenario in ("ts1", "ts2"):
        columns = [c for c in main_columns(scenario) if c.scale == 100.0]
        for column in columns:
            points = []
            for name in _plotted(scores):
                x = silent.select(system=name).interval(leak)
                y = scores.select(scenario=scenario, system=name).interval(column)
                if np.isfinite([x.value, y.value]).all():
                    of_system, dry = blend_parts(name)
                    y = _scaled(y, column.scale)
                    points.append(Point(of_system, x, y, dry))
            title = f"{scenario.upper()}: {column.title.removesuffix(' %')}"
            panels.append(Panel(title, column.title, points))
    return [panel for panel in panels if panel.points]


def _plotted(scores: Scores) -> list[str]:
    """Systems, and the input; oracles need the clean signals and dwarf the rest."""
    names = scores.select(seed="").names("system")
    return ["noisy", *(name for name in scores.names("system") if name not in names)]


def _scaled(interval: Interval, scale: float) -> Interval:
    ends = (interval.value * scale, interval.low * scale, interval.high * scale)
    return Interval(*ends, interval.speakers, interval.trials)


def training_curves(
    systems: Sequence[System], teacher: Path | None
) -> dict[str, list[Curve]]:
    """Figures of the trainings' logs over their epochs, by the title of their plot."""
    logs = [(s.name, s.folder) for s in systems if not s.is_reference]
    trunks = {trunk_of(folder) for _, folder in logs} - {None}
    logs = [("trunk", folder) for folder in sorted(filter(None, trunks))] + logs
    panels = {
        title: [c for name, folder in logs for c in _curve(name, folder, key)]
        for title, key in _CURVES.items()
    }
    if teacher is not None:
        names = {"accuracy": "valid.acc", "AUC tss vs ntss": "valid.auc"}
        panels["Teacher, validation"] = [
            c for name, key in names.items() for c in _curve(name, teacher, key)
        ]
    return panels


def _curve(name: str, folder: Path, key: str) -> list[Curve]:
    log = training_log(folder)
    epochs = [
        epoch for epoch in sorted(log) if np.isfinite(log[epoch].get(key, np.nan))
    ]
    values = [log[epoch][key] for epoch in epochs]
    return [Curve(name, epochs, values)] if epochs else []
