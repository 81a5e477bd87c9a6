#!/usr/bin/env python3
"""Score the package's own weights, or packed models, as a user gets them.

Every trial of the recipe's test sets is enrolled and enhanced, as a stream and with
`look_ahead`; run stages 1 and 2 of the recipe first. A trial's own enrolment clip has 3
to 8 s; with --clips 3 others, of other recordings, join it, as users are advised.
--dnsmos rates the outputs as well, and the input: 3 to 5 s a clip; --distillmos and
--asr take a second or less. WER counts the trials whose text is known.

python tools/score_weights.py --dump_dir egs2_recipe/dump --nj 2
"""

from __future__ import annotations

import argparse
import functools
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.cli.voice import Clip, one_level
from espnet_pse_kd.enrolment_vectors import EnrolmentClips
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.metrics.intervals import bootstrap_interval, mean, median, ratio
from espnet_pse_kd.metrics.intrusive import score_signals
from espnet_pse_kd.metrics.quality import dnsmos
from espnet_pse_kd.recipe.training_data import split_of
from espnet_pse_kd.report.listeners import Listeners
from espnet_pse_kd.report.trials import (
    Signals,
    Trial,
    load_signals,
    load_trials,
)
from espnet_pse_kd.runtime.enrolment_quality import measure
from espnet_pse_kd.utils.progress import parallel_map


class Figure(NamedTuple):
    """A column of the table.

    Attributes:
        scenario: whose trials.
        measure: key of the scores.
        statistic: of their values.
        heading: of the column.
        factor: what values are multiplied by. digits: after the point.
    """

    scenario: str
    measure: str
    statistic: Callable[[np.ndarray], float]
    heading: str
    factor: float = 1.0
    digits: int = 1


FIGURES = (
    Figure("ts0", "tsos", mean, "TS0 TSOS %", 100),
    Figure("ts0", "level_change", mean, "TS0 level dB"),
    Figure("ts1", "si_sdri", median, "TS1 SI-SDRi dB, median"),
    Figure("ts1", "deletion", mean, "TS1 deletion %", 100),
    Figure("ts2", "si_sdri", median, "TS2 SI-SDRi dB, median"),
    Figure("ts2", "deletion", mean, "TS2 deletion %", 100),
    Figure("ts2", "wrong_speaker", mean, "TS2 wrong speaker %", 100),
    Figure("ts3", "leakage_reduction", median, "TS3 reduction dB, median"),
)
DNSMOS = tuple(
    Figure(scenario, measure, mean, f"{scenario.upper()} {title}", digits=2)
    for scenario in ("ts0", "ts1", "ts2")
    for measure, title in (
        ("sig", "SIG"),
        ("bak", "BAK"),
        ("ovrl", "OVRL"),
        ("p808", "P.808"),
        ("povrl", "personalized OVRL"),
    )
)


DISTILLMOS = tuple(
    Figure(name, "distillmos", mean, f"{name.upper()} DistillMOS", digits=2)
    for name in ("ts0", "ts1", "ts2")
)


class Call(NamedTuple):
    """A way to call the enhancer.

    Attributes:
        model: see `PersonalizedEnhancer.from_pretrained`; None for the package's own.
        attenuation_limit_db, look_ahead: see its ``__call__``.
    """

    model: str | None
    attenuation_limit_db: float | None
    look_ahead: bool

    def __str__(self) -> str:
        parts = [Path(self.model).stem] if self.model else []
        parts.append("look-ahead" if self.look_ahead else "causal")
        if self.attenuation_limit_db is not None:
            parts.append(f"limit {self.attenuation_limit_db:g} dB")
        return ", ".join(parts)

    def enhance(self, mixture: np.ndarray, clips: Sequence[str]) -> np.ndarray:
        """The mixture (N,), enhanced for the voice of the clips."""
        voice = profile(self.model, clips)
        return _enhancer(self.model)(mixture, SAMPLE_RATE, voice, *self[1:])


@functools.lru_cache(maxsize=8)
def _enhancer(model: str | None) -> PersonalizedEnhancer:
    return PersonalizedEnhancer.from_pretrained(model)


def profile(model: str | None, paths: Sequence[str]) -> Profile:
    """The profile of a voice; several files are brought to one level, as by enroll."""
    clips = [Clip(Path(path), read_audio(path)) for path in paths]
    speech = one_level(clips, [measure(clip.wave) for clip in clips])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clips of the test sets are short and noisy
        return _enhancer(model).enroll(speech, SAMPLE_RATE)


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


def known_texts(folder: Path, trials: Sequence[Trial]) -> list[str | None]:
    """What the target of each trial says; "" where it is silent, None if unknown."""
    path = folder / "text_spk1"
    texts = read_table(path) if path.is_file() else {}
    return ["" if t.scenario == "ts3" else texts.get(t.uid) for t in trials]


def _score(
    work: tuple[Trial, Sequence[str], str | None],
    calls: tuple[Call, ...],
    rate: bool,
    listeners: Listeners,
) -> list[dict]:
    trial, clips, text = work
    signals: Signals = load_signals(trial)
    mixture = signals.mixture
    outputs = {str(call): call.enhance(mixture, clips) for call in calls}
    if rate or listeners != Listeners():
        outputs = {"noisy": mixture, **outputs}
    spoken = bool(np.any(signals.target))
    return [
        {
            "call": name,
            "uid": trial.uid,
            "scenario": trial.scenario,
            "target": trial.facts["target"],
            **score_signals(signals.target, signals.interferer, mixture, output),
            **(dnsmos(output) if rate else {}),
            "seconds": len(mixture) / SAMPLE_RATE,
            **listeners.rate(output, text, spoken),
        }
        for name, output in outputs.items()
    ]


def table(rows: list[dict], figures: Sequence[Figure]) -> list[str]:
    """Lines of a Markdown table, one per call, of the scenarios that there are."""
    scenarios = {row["scenario"] for row in rows}
    figures = [figure for figure in figures if figure.scenario in scenarios]
    lines = ["|call|" + "|".join(figure.heading for figure in figures) + "|"]
    lines.append("|---" * (len(figures) + 1) + "|")
    for name in dict.fromkeys(row["call"] for row in rows):
        own = [row for row in rows if row["call"] == name]
        lines.append(f"|{name}|" + "|".join(_cell(own, f) for f in figures) + "|")
    return lines


def interval(rows: list[dict], figure: Figure) -> tuple[float, float, float]:
    """A figure of the trials of its scenario: value, and its 95 % interval."""
    chosen = [row for row in rows if row["scenario"] == figure.scenario]
    values = figure.factor * np.array([row[figure.measure] for row in chosen])
    found = bootstrap_interval(
        values, [row["target"] for row in chosen], statistic=figure.statistic
    )
    return found.value, found.low, found.high


def _cell(rows: list[dict], figure: Figure) -> str:
    ends = interval(rows, figure)
    return "{} [{}, {}]".format(*(f"{end:.{figure.digits}f}" for end in ends))


def word_table(rows: list[dict]) -> list[str]:
    """Word errors in %, with the number of trials; inserted words per minute in TS3."""
    heard = [row for row in rows if row.get("words") is not None]
    scenarios = list(dict.fromkeys(row["scenario"] for row in heard))
    units = ["words per min" if name == "ts3" else "WER %" for name in scenarios]
    heads = [f"{name.upper()} {unit}" for name, unit in zip(scenarios, units)]
    lines = ["|".join(["", "call", *heads, ""]), "|---" * (len(heads) + 1) + "|"]
    for call in dict.fromkeys(row["call"] for row in heard):
        own = [row for row in heard if row["call"] == call]
        parts = [[r for r in own if r["scenario"] == name] for name in scenarios]
        lines.append("|".join(["", call, *map(_word_cell, parts), ""]))
    return lines


def _word_cell(rows: list[dict]) -> str:
    silent = rows[0]["scenario"] == "ts3"
    pairs = [
        (row["word_insertions"], row["seconds"] / 60)
        if silent
        else (row["word_errors"], row["words"])
        for row in rows
    ]
    speakers = [row["target"] for row in rows]
    found = bootstrap_interval(np.array(pairs, float), speakers, statistic=ratio)
    ends = [(1 if silent else 100) * x for x in (found.value, found.low, found.high)]
    return "{:.1f} [{:.1f}, {:.1f}] (n={})".format(*ends, len(rows))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--dump_dir", type=Path, default=Path("egs2_recipe/dump"))
    add("--models", nargs="+", default=[None], help="packed; default: the package's")
    add("--causal", action="store_true", help="only without look-ahead")
    add("--sets", nargs="+", default=[f"test_ts{number}" for number in range(4)])
    add("--limits", type=float, nargs="*", default=[], help="attenuation limits, dB")
    add("--trials", type=int, help="first trials of each set only")
    add("--clips", type=int, default=1, help="most enrolment clips of a trial")
    add("--dnsmos", action="store_true", help="rate outputs and input by DNSMOS, too")
    add("--distillmos", action="store_true", help="and by DistillMOS")
    add("--asr", help="count words: whisper_tiny, whisper_base or an ESPnet ASR")
    add("--output", type=Path, help="JSON lines with the scores of every trial")
    add("--nj", type=int, default=2)
    args = parser.parse_args()
    listeners = Listeners(args.asr, ("distillmos",) if args.distillmos else ())
    listeners.check()
    limits = [None, *args.limits]
    ways = (False,) if args.causal else (False, True)
    calls = tuple(
        Call(model, limit, look)
        for model in args.models
        for limit in limits
        for look in ways
    )
    work = []
    for name in args.sets:
        folder = args.dump_dir / "raw" / name
        trials = load_trials(folder)[: args.trials]
        clips = enrolments(folder, trials, args.clips)
        work += zip(trials, clips, known_texts(folder, trials), strict=True)
    run = functools.partial(_score, calls=calls, rate=args.dnsmos, listeners=listeners)
    results = parallel_map(run, work, args.nj, "trials")
    rows = [row for group in results for row in group]
    if args.output:
        with atomic_open(args.output) as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    print("\n".join(table(rows, FIGURES)))
    if args.dnsmos:
        print("\n".join(["", *table(rows, DNSMOS)]))
    if args.distillmos:
        print("\n".join(["", *table(rows, DISTILLMOS)]))
    if args.asr:
        print("\n".join(["", *word_table(rows)]))


if __name__ == "__main__":
    main()
