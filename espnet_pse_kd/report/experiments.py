"""How systems and teachers came about: steps, time, commit, gate, teachers' scores."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from espnet_pse_kd.files import read_json
from espnet_pse_kd.report.tables import DASH, Table
from espnet_pse_kd.report.trials import System

IDLE = 0.01

EXPERIMENTS = "Experiments"
"""Title of `experiment_table`, whose rows begin with experiment, system and seed."""

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
