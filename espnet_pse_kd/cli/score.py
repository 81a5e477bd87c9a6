"""``pse-kd score``: enhanced recordings against clean ones."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.batch import recordings
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.sound.reading import read_mono
from espnet_pse_kd.utils.progress import progress

DESCRIPTION = (
    "Measure enhanced recordings: SI-SDR and its improvement over the noisy "
    "recordings (dB), STOI, over-suppression of the voice (TSOS, deletion), change of "
    "its level (dB). Definitions: docs/method.md. Each enhanced file is compared with "
    "the clean and the noisy one of the same name, or whose name is a part of its own "
    "up to a dot. SI-SDR needs nothing more, STOI the extra [score], the others the "
    "extra [recipe]."
)

COLUMNS = ("si_sdr", "si_sdri", "stoi", "tsos", "deletion", "level_change")
"""Measures that are printed; ``--csv`` has all of them."""


Measure = Callable[..., dict[str, float]]
"""What gives the measures of target, mixture and output, each (N,) at 16 kHz."""


class Trial(NamedTuple):
    """Files of one comparison."""

    clean: Path
    noisy: Path
    enhanced: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    add = parser.add_argument
    for role in Trial._fields:
        add(
            f"--{role}", type=Path, required=True, metavar="PATH", help="file or folder"
        )
    add("--csv", type=Path, metavar="FILE", help="write all measures of all files")
    add("--force", action="store_true", help="replace the CSV file if it exists")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: files do not belong together.
    """
    if args.csv is not None and args.csv.exists() and not args.force:
        raise UserError(f"{args.csv}: exists; give --force, or another --csv")
    trials = pair(args.clean, args.noisy, args.enhanced)
    measure = find_measure()
    rows = [score(trial, measure) for trial in progress(trials, len(trials), "scoring")]
    print("\n".join(table(rows)))
    if args.csv is not None:
        from espnet_pse_kd.files import write_csv

        write_csv(args.csv, rows)


def pair(clean: Path, noisy: Path, enhanced: Path) -> list[Trial]:
    """Find the clean and the noisy file of each enhanced one; files are taken as is.

    Raises:
        UserError: there is none, or more than one.
    """
    if enhanced.is_file():
        return [Trial(clean, noisy, enhanced)]
    return [
        Trial(_partner(clean, path), _partner(noisy, path), path)
        for path in recordings(enhanced)
    ]


def _partner(folder: Path, enhanced: Path) -> Path:
    """The recording of ``folder`` that belongs to ``enhanced``."""
    found = recordings(folder)
    same = [path for path in found if path.stem == enhanced.stem]
    parts = [path for path in found if enhanced.stem.startswith(f"{path.stem}.")]
    partners = same or parts
    if len(partners) != 1:
        raise UserError(
            f"{folder}: {len(partners)} files belong to {enhanced}; give exactly one "
            "the same name"
        )
    return partners[0]


def find_measure() -> Measure:
    """All measures where what they need is installed; otherwise those that need less.

    What is left out is said on standard error.
    """
    try:
        from espnet_pse_kd.metrics.intrusive import score_signals

        importlib.import_module("pystoi")
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        return lambda *signals: score_signals(signals[0], signals[0] * 0, *signals[1:])
    has_stoi = importlib.util.find_spec("pystoi") is not None
    lacking = "tsos, deletion, level_change" + ("" if has_stoi else ", stoi")
    extras = how_to_install("recipe")
    if not has_stoi:
        extras += f" (for stoi alone: {how_to_install('score')})"
    print(f"note: {missing} is not installed, no {lacking}; {extras}", file=sys.stderr)
    return functools.partial(light_measures, has_stoi)


def light_measures(
    has_stoi: bool, target: np.ndarray, mixture: np.ndarray, output: np.ndarray
) -> dict[str, float]:
    """What needs no torch, of signals (N,): SI-SDR and, if it is there, STOI.

    Its improvement is undefined (NaN) where the mixture is the target, and all is where
    the target is silent.
    """
    from espnet_pse_kd.metrics.quality import stoi
    from espnet_pse_kd.metrics.separation import si_sdr, si_sdr_improvement

    measures = dict.fromkeys(COLUMNS, math.nan)
    if np.any(target):
        measures["si_sdr"] = si_sdr(target, output)
    if np.any(target) and np.any(mixture != target):
        measures["si_sdri"] = si_sdr_improvement(target, output, mixture)
    if has_stoi:
        measures["stoi"] = stoi(target, output)
    return measures


def score(trial: Trial, measure: Measure) -> dict[str, Any]:
    """All measures of one trial, at 16 kHz, and the name of the enhanced file.

    Args:
        trial: its files.
        measure: of target, mixture and output.

    Raises:
        UserError: the three differ in length by more than 10 ms.
    """
    signals = [read_mono(path, SAMPLE_RATE) for path in trial]
    lengths = [len(signal) for signal in signals]
    if max(lengths) - min(lengths) > SAMPLE_RATE // 100:
        shown = ", ".join(f"{n / SAMPLE_RATE:.2f}" for n in lengths)
        raise UserError(
            f"{trial.enhanced}: clean, noisy and enhanced last {shown} s; give "
            "recordings of one length"
        )
    short = min(lengths)
    measures = measure(*(signal[:short] for signal in signals))
    return {"file": trial.enhanced.name, **measures}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows and their mean as aligned text; a dash where a measure is undefined."""
    width = max(len(str(row["file"])) for row in rows)
    lines = ["  ".join([f"{'file':{width}}", *(f"{name:>12}" for name in COLUMNS)])]
    for row in rows:
        lines.append(_line(str(row["file"]), width, (row[name] for name in COLUMNS)))
    columns = np.array([[row[name] for name in COLUMNS] for row in rows], float)
    means = (
        values[np.isfinite(values)].mean() if np.isfinite(values).any() else math.nan
        for values in columns.T
    )
    return [*lines, _line("mean", width, means)]


def _line(name: str, width: int, values: Iterable[float]) -> str:
    shown = ("-" if math.isnan(value) else f"{value:.3f}" for value in values)
    return "  ".join([f"{name:{width}}", *(f"{text:>12}" for text in shown)])
