"""Score systems on trials, several at a time, and go on where it was interrupted."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality.systems import Enhance, System
from benchmarks.quality.trials import Signals, Trial
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.metrics.intrusive import score_signals, separation_scores
from espnet_pse_kd.recipe import asr
from espnet_pse_kd.report.listeners import Listeners
from espnet_pse_kd.utils.progress import parallel_map

Row = dict[str, Any]
ABOUT, ROWS = "about.json", "scores.jsonl"


@dataclass(frozen=True)
class Measures:
    """What is measured.

    Attributes:
        listeners: beside the intrusive metrics.
        frames: whether STOI and what is lost and what leaks are measured, frame by
            frame; otherwise separation alone, in a fraction of the time.
    """

    listeners: Listeners = Listeners()
    frames: bool = True


class Work(NamedTuple):
    """One trial, and the systems that have not been scored on it."""

    trial: Trial
    systems: tuple[System, ...]
    measures: Measures


def score(
    trials: Sequence[Trial],
    systems: Sequence[System],
    folder: Path,
    about: Mapping[str, Any],
    measures: Measures,
    nj: int = 1,
) -> list[Row]:
    """Score every system on every trial; what ``folder`` has already is kept.

    Args:
        trials: of one ground.
        systems: rows of the tables.
        folder: gets `ABOUT` and `ROWS`, a JSON line for each trial of each system.
        about: what the trials are, for the record and for the check of a folder.
        measures: see `Measures`.
        nj: processes.

    Returns:
        The rows of these trials and systems, in their order.

    Raises:
        UserError: the folder has scores of something else.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    name, mos = measures.listeners.asr, [*measures.listeners.mos]
    _claim(folder, {**about, "asr": name and asr.identity(name), "mos": mos})
    _claim_systems(folder, systems)
    done = {(row["system"], row["uid"]): row for row in read_rows(folder)}
    work = [
        Work(trial, left, measures)
        for trial in trials
        if (left := tuple(s for s in systems if (s.name, trial.uid) not in done))
    ]
    for row in _append(folder / ROWS, done.values(), work, nj):
        done[row["system"], row["uid"]] = row
    return [done[system.name, trial.uid] for system in systems for trial in trials]


def _append(path: Path, done: Iterable[Row], work: Sequence[Work], nj: int):
    """Yield the rows of ``work`` when they are in the file."""
    if not work:
        return
    # Without the line that a kill cut off.
    with atomic_open(path) as file:
        file.writelines(json.dumps(row) + "\n" for row in done)
    with open(path, "a", encoding="utf-8") as file:
        for rows in parallel_map(score_trial, work, nj, path.parent.name):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            yield from rows


def read_rows(folder: Path) -> list[Row]:
    """Rows that are in a folder, without one that was cut off."""
    path = folder / ROWS
    rows = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def read_about(folder: Path) -> dict[str, Any]:
    """What the scores of a folder are of; empty where there are none.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / ABOUT
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        raise UserError(f"{path}: not a JSON object; remove the folder") from None


def _claim(folder: Path, about: Mapping[str, Any]) -> None:
    known = read_about(folder)
    for key in about:
        if known and known.get(key) != about[key]:
            raise UserError(
                f"{folder}: has scores with {key} {known.get(key)!r}, not "
                f"{about[key]!r}; give another --output, or remove it"
            )
    if not known:
        _write_about(folder, {**about, "systems": {}})


def _claim_systems(folder: Path, systems: Sequence[System]) -> None:
    """Note what each system is; another one of the same name is refused."""
    about = read_about(folder)
    for system in systems:
        identity = system.identity()
        known = about["systems"].setdefault(system.name, identity)
        if known != identity:
            raise UserError(
                f"{folder}: {system.name} was scored as {known}, and is now "
                f"{identity}; give another --output, or remove it"
            )
    _write_about(folder, about)


def _write_about(folder: Path, about: Mapping[str, Any]) -> None:
    with atomic_open(folder / ABOUT) as file:
        json.dump(about, file, indent=1)
        file.write("\n")


def score_trial(work: Work) -> list[Row]:
    """All rows of one trial; the same signals for every system."""
    import torch

    torch.set_num_threads(1)  # several trials at a time
    trial = work.trial
    signals = trial.read()
    facts = {"scenario": trial.scenario, "target": trial.target, **trial.facts}
    facts |= {"seconds": len(signals.mixture) / 16000, "sir": sir(signals)}
    return [
        {
            "system": system.name,
            "uid": trial.uid,
            **facts,
            **measured(
                signals,
                _opened(system)(signals, trial.enrolment),
                trial.text,
                work.measures,
            ),
        }
        for system in work.systems
    ]


def sir(signals: Signals) -> float | None:
    """Energy of the target over the interferer's in dB; None where one is absent."""
    target, interferer = (
        float(np.sum(np.square(x, dtype=np.float64)))
        for x in (signals.target, signals.interferer)
    )
    return 10 * math.log10(target / interferer) if target and interferer else None


def measured(
    signals: Signals, output: np.ndarray, text: str | None, measures: Measures
) -> Row:
    """What is found in an output; None where a measure is undefined."""
    intrusive = score_signals if measures.frames else separation_scores
    scores = intrusive(signals.target, signals.interferer, signals.mixture, output)
    row: Row = {k: None if np.isnan(v) else v for k, v in scores.items()}
    spoken = bool(np.any(signals.target))
    return {**row, **measures.listeners.rate(output, text, spoken)}


@functools.cache
def _opened(system: System) -> Enhance:
    return system.open()
