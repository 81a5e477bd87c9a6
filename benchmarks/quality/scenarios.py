"""TS0 to TS3: the recipe's test sets, as its stages 1 and 2 write them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.trials import Signals, Trial
from espnet_pse_kd.report import trials as recipe
from tools.score_weights import enrolments, known_texts

SETS = tuple(f"test_ts{number}" for number in range(4))
FACTS = ("same_gender", "snr", "interferer")


def trials(
    dump_dir: Path,
    sets: Sequence[str] = SETS,
    count: int | None = None,
    clips: int = 1,
) -> list[Trial]:
    """The first ``count`` trials of each set.

    Args:
        dump_dir: what stage 2 of the recipe wrote.
        sets: folders of ``dump_dir/raw``.
        count: of each set; None for all.
        clips: most enrolment clips of a trial, see `tools.score_weights.enrolments`.

    Raises:
        UserError: a set or a table of it is missing.
    """
    found = []
    for name in sets:
        folder = dump_dir / "raw" / name
        own = recipe.load_trials(folder)[:count]
        paths, texts = enrolments(folder, own, clips), known_texts(folder, own)
        found += map(functools.partial(_trial, name), own, paths, texts)
    return found


def _trial(
    name: str, trial: recipe.Trial, enrolment: Sequence[str], text: str | None
) -> Trial:
    return Trial(
        uid=f"{name} {trial.uid}",
        scenario=trial.scenario,
        target=str(trial.facts["target"]),
        enrolment=tuple(map(Path, enrolment)),
        read=functools.partial(read, trial),
        facts={key: trial.facts.get(key) for key in FACTS},
        text=text,
    )


def read(trial: recipe.Trial) -> Signals:
    """The signals of a trial of the recipe."""
    signals = recipe.load_signals(trial)
    return Signals(signals.mixture, signals.target, signals.interferer)
