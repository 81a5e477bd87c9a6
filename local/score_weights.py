#!/usr/bin/env python3
"""Score the package's own weights, as a user gets them, on the recipe's test sets.

Every trial is enrolled and enhanced by `PersonalizedEnhancer`, as a stream and with
`look_ahead`; run stages 1 and 2 of the recipe first. Its own enrolment clip has 3 to
8 s; with --clips 3 others, of other recordings, join it, as users are advised.

python local/score_weights.py --dump_dir egs2_recipe/dump --nj 2
"""

from __future__ import annotations

import argparse
import functools
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.enrolment import EnrolmentClips
from espnet_pse_kd.kaldi import atomic_open, read_table
from espnet_pse_kd.metrics.intervals import bootstrap_interval, mean, median
from espnet_pse_kd.metrics.intrusive import score_signals
from espnet_pse_kd.progress import parallel_map
from espnet_pse_kd.recipe.training import split_of
from espnet_pse_kd.recipe.trials import Signals, Trial, load_signals, load_trials

FIGURES = (
    ("ts0", "tsos", mean, 100, "TS0 TSOS %"),
    ("ts0", "level_change", mean, 1, "TS0 level dB"),
    ("ts1", "si_sdri", median, 1, "TS1 SI-SDRi dB, median"),
    ("ts1", "deletion", mean, 100, "TS1 deletion %"),
    ("ts2", "si_sdri", median, 1, "TS2 SI-SDRi dB, median"),
    ("ts2", "deletion", mean, 100, "TS2 deletion %"),
    ("ts2", "wrong_speaker", mean, 100, "TS2 wrong speaker %"),
    ("ts3", "leakage_reduction", median, 1, "TS3 reduction dB, median"),
)
"""Scenario, measure, statistic, factor and heading of the columns."""


class Variant(NamedTuple):
    """A way to call the enhancer."""

    attenuation_limit_db: float | None
    look_ahead: bool

    def __str__(self) -> str:
        limit = self.attenuation_limit_db
        way = "look-ahead" if self.look_ahead else "causal"
        return way if limit is None else f"{way}, limit {limit:g} dB"


@functools.lru_cache(maxsize=1)
def _enhancer() -> PersonalizedEnhancer:
    return PersonalizedEnhancer.from_pretrained()


def _profile(clips: Sequence[str]) -> Profile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the recipe's clips are short and noisy
        speech = np.concatenate([read_audio(clip) for clip in clips])
        return _enhancer().enroll(speech, SAMPLE_RATE)


def enrolments(folder: Path, trials: Sequence[Trial], most: int) -> list[list[str]]:
    """At most ``most`` enrolment clips for each trial of a set, its own one first."""
    own = read_table(folder / "enroll_spk1.scp")
    if most == 1:
        return [[own[trial.uid]] for trial in trials]
    split = folder.parents[1] / "enroll" / split_of(folder.name)
    known, paths = EnrolmentClips.read(split), read_table(split / "wav.scp")
    chosen = []
    for trial in trials:
        source, speaker = trial.facts["target_source"], trial.facts["target"]
        clips = [paths[known.ids[row]] for row in known.rows(f"*{source} {speaker}")]
        chosen.append(list(dict.fromkeys([own[trial.uid], *clips]))[:most])
    return chosen


def _score(
    work: tuple[Trial, Sequence[str]], variants: tuple[Variant, ...]
) -> list[dict]:
    trial, clips = work
    signals: Signals = load_signals(trial)
    profile = _profile(clips)
    rows = []
    for variant in variants:
        output = _enhancer()(signals.mixture, SAMPLE_RATE, profile, *variant)
        scores = score_signals(
            signals.target, signals.interferer, signals.mixture, output
        )
        rows.append(
            {
                "variant": str(variant),
                "uid": trial.uid,
                "scenario": trial.scenario,
                "target": trial.facts["target"],
                **scores,
            }
        )
    return rows


def table(rows: list[dict]) -> list[str]:
    """Lines of a Markdown table, one per variant."""
    lines = ["|call|" + "|".join(heading for *_, heading in FIGURES) + "|"]
    lines.append("|---" * (len(FIGURES) + 1) + "|")
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for scenario, measure, statistic, factor, _ in FIGURES:
            chosen = [
                r for r in rows if (r["variant"], r["scenario"]) == (name, scenario)
            ]
            speakers = [row["target"] for row in chosen]
            values = factor * np.array([row[measure] for row in chosen])
            found = bootstrap_interval(values, speakers, statistic=statistic)
            cells.append(f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]")
        lines.append(f"|{name}|" + "|".join(cells) + "|")
    return lines


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("egs2_recipe/dump"))
    add("--sets", nargs="+", default=[f"test_ts{number}" for number in range(4)])
    add("--limits", type=float, nargs="*", default=[], help="attenuation limits, dB")
    add("--trials", type=int, help="first trials of each set only")
    add("--clips", type=int, default=1, help="most enrolment clips of a trial")
    add("--output", type=Path, help="JSON lines with the scores of every trial")
    add("--nj", type=int, default=2)
    args = parser.parse_args()
    limits = [None, *args.limits]
    variants = tuple(Variant(limit, look) for limit in limits for look in (False, True))
    work = []
    for name in args.sets:
        folder = args.dump_dir / "raw" / name
        trials = load_trials(folder)[: args.trials]
        work += zip(trials, enrolments(folder, trials, args.clips), strict=True)
    run = functools.partial(_score, variants=variants)
    results = parallel_map(run, work, args.nj, "trials")
    rows = [row for group in results for row in group]
    if args.output:
        with atomic_open(args.output) as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
