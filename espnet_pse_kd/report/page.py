"""``report.html``: what stage 7 measured, to look at and to listen to, in one file.

It shows the numbers of ``RESULTS.md``, from the same ``exp/scores.csv``, and for a
few trials, chosen by their scores, what can be heard and seen of them.
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, read_csv
from espnet_pse_kd.report import figures, results
from espnet_pse_kd.report.columns import SCENARIOS
from espnet_pse_kd.report.curves import operating_panels, training_curves
from espnet_pse_kd.report.differences import difference_tables
from espnet_pse_kd.report.experiments import experiment_table, teacher_table
from espnet_pse_kd.report.gallery import Gallery, Teacher, choose, shown_system
from espnet_pse_kd.report.overview import main_figures, side_by_side
from espnet_pse_kd.report.scenarios import scenario_tables
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import Table
from espnet_pse_kd.report.trials import System


def main_table(scores: Scores) -> Table:
    """The few figures that answer the paper's question, all scenarios side by side."""
    return side_by_side("Main figures", scores, main_figures(scores))


def render(context: Mapping[str, Any]) -> str:
    """The page; it refers to nothing outside of itself."""
    import jinja2

    package = importlib.resources.files("espnet_pse_kd.report")
    source = package.joinpath("report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["parts"] = cell_parts
    return environment.from_string(source).render(context)


def cell_parts(text: str) -> dict[str, Any]:
    """A cell of a Markdown table, taken apart: bold, code, value, interval."""
    found = re.fullmatch(r"(\*\*)?(.*?)( \[.*\].*?)?(\*\*)?", text, re.DOTALL)
    assert found is not None  # every text matches
    value = found[2]
    code = value.startswith("`") and value.endswith("`") and len(value) > 1
    return {
        "bold": bool(found[1]),
        "code": code,
        "value": value.strip("`") if code else value,
        "interval": (found[3] or "").strip(),
    }


def write_report(
    scored: Path,
    dumpdir: Path,
    systems: Sequence[System],
    output: Path,
    command: str,
    teacher: Teacher | None = None,
    teacher_folder: Path | None = None,
    wanted: str | None = None,
) -> None:
    """Write ``report.html``.

    Args:
        scored: ``exp/scores.csv``, beside the experiments and the teachers.
        dumpdir: ``dump/raw``.
        systems: reference rows and trained systems.
        output: file to write.
        command: the command that made the scores, as a user would repeat it.
        teacher: gives posteriors; without one the gate is not drawn.
        teacher_folder: ``exp/pvad_*``, for its training curves.
        wanted: system by whose scores the trials are chosen, see `shown_system`.

    Raises:
        UserError: scores, audio or systems are missing.
    """
    if not scored.is_file():
        raise UserError(f"{scored}: no such file; run stage 7 first")
    scores = Scores(read_csv(scored))
    shown = shown_system(systems, wanted)
    trained = [system for system in systems if not system.is_reference]
    colour = figures.colours(list(dict.fromkeys(s.name for s in trained)))
    gallery = Gallery(scores, trained, shown, dumpdir, teacher)
    panels = operating_panels(scores)
    page = render(
        {
            "command": command,
            "notes": results.NOTES,
            "environment": results.environments(),
            "operating": figures.operating_figure(panels, colour) if panels else "",
            "main": main_table(scores),
            "differences": difference_tables(scores),
            "shown": shown,
            "examples": gallery.examples(choose(scores, shown)),
            "training": figures.training_figure(
                training_curves(systems, teacher_folder), colour
            ),
            "records": experiment_table(systems) + teacher_table(scored),
            "scenarios": {
                f"{name.upper()}: {meaning}": scenario_tables(scores, name)
                for name, meaning in SCENARIOS.items()
            },
        }
    )
    with atomic_open(output) as file:
        file.write(page)
