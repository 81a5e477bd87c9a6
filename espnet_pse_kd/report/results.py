"""``RESULTS.md``: score tables in ESPnet's form, rendered from ``exp/scores.csv``."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_pse_kd.files import atomic_open, read_csv
from espnet_pse_kd.report.columns import SCENARIOS
from espnet_pse_kd.report.differences import difference_tables
from espnet_pse_kd.report.experiments import experiment_table, teacher_table
from espnet_pse_kd.report.scenarios import scenario_tables
from espnet_pse_kd.report.scores import Scores
from espnet_pse_kd.report.tables import DASH, section
from espnet_pse_kd.report.tradeoff import blend_table, line_table
from espnet_pse_kd.report.trials import System
from espnet_pse_kd.utils.checkout import git

NOTES = (
    "every cell: value [95 % interval], resampling target speakers and seeds jointly, "
    "2,000 draws; n is the column `speakers`, or is in the cell",
    "paired differences: both systems' statistics on the same trials, under the same "
    "draws; bold where the interval leaves zero out",
    "TSOS is the scale-free form over target-active frames unless stated; an oracle "
    "Wiener mask scores on it too",
    "similar voices: the third of a scenario's trials whose two speakers have the most "
    "similar mean enrolment vectors (cosine, the mean of all speakers taken off)",
    "`s+0.1x`: dry blend, the output of `s` plus 0.1 times the mixture",
    "WER and DEL: one ASR for all rows; errors count up to 100 % of an utterance's "
    "words",
    "DNSMOS and DistillMOS: a fixed subset of the trials",
)
"""What a reader of the tables must know."""


def environments() -> dict[str, str]:
    """ESPnet's section on date, versions and commit."""
    return {
        "date": f"{datetime.datetime.now().astimezone():%a %b %d %H:%M:%S %Z %Y}",
        "python version": platform.python_version(),
        "espnet version": f"espnet {_version('espnet')}",
        "pytorch version": f"pytorch {_version('torch')}",
        "espnet_pse_kd version": _version("espnet_pse_kd"),
        "Git hash": git("rev-parse", "HEAD") or DASH,
        "Commit date": git("log", "-1", "--format=%cd") or DASH,
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return DASH


_VARIATIONS = {
    "paired": "{:.0f} % in groups of one mixture",
    "further_interferers": "a further interferer in {:.0f} %",
    "turns": "turn-taking in {:.0f} %",
    "short": "short utterances in {:.0f} %",
    "swapped_distances": "distances swapped in {:.0f} %",
    "transients": "transients in {:.0f} %",
    "noise_free": "two voices without noise in {:.0f} %",
    "babble": "babble in {:.0f} %",
    "shaped_noise": "synthesized noise in {:.0f} %",
    "telephone": "telephone band in {:.0f} %",
    "second_noise": "a second noise in {:.0f} %",
    "dry_share": "no room in {:.0f} %",
}
"""Shares of `SimulationOptions` that vary training samples, as text."""


def training_mix(options: Mapping[str, Any]) -> str:
    """The training mix in one line, from what stage 2 left in ``simulation.json``."""
    if not options:
        return "not known, the simulated data came without simulation.json"
    names = ("ts0", "ts1", "ts2", "its")
    total = sum(options[name] for name in names)
    shares = [f"{name.upper()} {100 * options[name] / total:.0f} %" for name in names]
    ranges = [
        f"{title} {options[name][0]:g}..{options[name][1]:g} {unit}"
        for title, name, unit in (
            ("SNR", "train_snr", "dB"),
            ("SIR", "train_sir", "dB"),
            ("level", "level", "dBFS"),
        )
    ]
    voices = "speeds " + ", ".join(f"{speed:g}" for speed in options["speeds"])
    if options.get("formants", [1]) != [1]:
        ratios = ", ".join(f"{ratio:g}" for ratio in options["formants"])
        voices += f", formants times {ratios}"
    augmentation = ""
    if options.get("noise_speed", [1, 1]) != [1, 1]:
        slow, fast = options["noise_speed"]
        augmentation += f"noise at speeds {slow:g}..{fast:g}; "
    for name, text in _VARIATIONS.items():
        if share := options.get(name):
            augmentation += text.format(100 * share) + "; "
    if options.get("equalizer"):
        augmentation += f"equalizers of +-{options['equalizer']:g} dB; "
    return (
        f"{', '.join(shares)} (b1: ITS share goes to TS2), {', '.join(ranges)}; "
        f"speech at {voices}; {augmentation}"
        f"{options['sizes']['train']} samples of "
        f"{options['seconds']:g} s"
    )


def write_results(
    scored: Path,
    systems: Sequence[System],
    output: Path,
    command: str,
    training_mix: str,
) -> None:
    """Render ``RESULTS.md``.

    Args:
        scored: ``exp/scores.csv``, beside the experiments and the teachers.
        systems: rows, in the order of the tables.
        output: file to write.
        command: the command that made the scores, as a user would repeat it.
        training_mix: the proportions of the training data, one line.
    """
    scores = Scores(read_csv(scored))
    lines = ["<!-- Generated by python -m espnet_pse_kd.bin.score -->", "# RESULTS", ""]
    lines += ["## Environments", ""]
    lines += [f"- {k}: `{v}`" for k, v in environments().items()]
    lines += ["", "## Set-up", "", f"- command: `{command}`"]
    lines += [f"- training mix: {training_mix}", *(f"- {note}" for note in NOTES), ""]
    for one in experiment_table(systems) + teacher_table(scored):
        lines += one.markdown(level=2)
    lines += score_lines(scores)
    with atomic_open(output) as file:
        file.write("\n".join(lines).rstrip() + "\n")


def score_lines(scores: Scores) -> list[str]:
    """Markdown of all that the scores say: differences, then every scenario."""
    lines = section("Paired differences", difference_tables(scores))
    tables = [*line_table(scores), *blend_table(scores)]
    lines += [line for one in tables for line in one.markdown(level=2)]
    for scenario, meaning in SCENARIOS.items():
        title = f"{scenario.upper()}: {meaning}"
        lines += section(title, scenario_tables(scores, scenario))
    return lines
