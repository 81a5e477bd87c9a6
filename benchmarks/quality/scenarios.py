"""TS0 to TS3: the recipe's test sets, as its stages 1 and 2 write them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality.trials import Signals, Trial
from espnet_pse_kd.enrolment_vectors import EnrolmentClips
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.recipe.training import split_of
from espnet_pse_kd.report import trials as recipe

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
        clips: most enrolment clips of a trial, see `enrolments`.

    Raises:
        UserError: a set or a table of it is missing.
    """
    found = []
    for name in sets:
        folder = dump_dir / "raw" / name
        own = recipe.load_trials(folder)[:count]
        texts = _texts(folder)
        for trial, paths in zip(own, enrolments(folder, own, clips), strict=True):
            found.append(
                Trial(
                    uid=f"{name} {trial.uid}",
                    scenario=trial.scenario,
                    target=str(trial.facts["target"]),
                    enrolment=tuple(map(Path, paths)),
                    read=functools.partial(read, trial),
                    facts={key: trial.facts.get(key) for key in FACTS},
                    text="" if trial.scenario == "ts3" else texts.get(trial.uid),
                )
            )
    return found


def _texts(folder: Path) -> dict[str, str]:
    path = folder / "text_spk1"
    return read_table(path) if path.is_file() else {}


def read(trial: recipe.Trial) -> Signals:
    """The signals of a trial of the recipe."""
    signals = recipe.load_signals(trial)
    return Signals(signals.mixture, signals.target, signals.interferer)


def enrolments(
    folder: Path, trials: Sequence[recipe.Trial], most: int
) -> list[list[str]]:
    """At most ``most`` enrolment clips for each trial of a set, its own one first.

    Further ones are of other recordings than the one in the mixture.
    """
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
