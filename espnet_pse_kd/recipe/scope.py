"""The scope of a run: what it trains, and what of it stage 7 rates and blends."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_pse_kd.errors import UserError

BEST = "best"
"""What ``--methods`` may call the best method, whichever that is."""


@dataclass(frozen=True)
class Run:
    """What a run trains, and where.

    Attributes:
        methods: names of the trained methods.
        seeds: of their trainings.
        test_sets: names of the sets that are enhanced and scored.
        expdir: folder of the trainings, those of earlier runs as well.
        shared: a shared model is downloaded, and nothing is trained.
    """

    methods: Sequence[str]
    seeds: Sequence[int]
    test_sets: Sequence[str]
    expdir: Path
    shared: bool = False

    def trainings(self, method: str) -> list[Path]:
        """Folders of the trainings of a method that are there already."""
        return sorted(self.expdir.glob(f"pse_*_{glob.escape(method)}_seed*"))

    def has(self, method: str) -> bool:
        """Whether this run trains a method, or an earlier one did."""
        return method in self.methods or bool(self.trainings(method))

    def scores(self, method: str) -> bool:
        """Whether stage 7 finds outputs of a method, this run's or an earlier one's."""
        if method in self.methods and not self.shared:
            return True
        return any(
            (folder / f"enhanced_{test_set}" / "spk1.scp").exists()
            for folder in self.trainings(method)
            for test_set in self.test_sets
        )


@dataclass(frozen=True)
class Scoring:
    """Which of the scored systems get more than the common scores.

    Attributes:
        dnsmos_methods: methods that DNSMOS rates; none for all.
        dnsmos_seeds: training seeds that it rates; none for all.
        dry_blend_methods: methods that are also scored with some of the mixture.
    """

    dnsmos_methods: Sequence[str] = ()
    dnsmos_seeds: Sequence[int] = ()
    dry_blend_methods: Sequence[str] = ()


def with_best(names: Sequence[str], best: str) -> list[str]:
    """``names`` with the method behind `BEST` in its place."""
    return [best if name == BEST else name for name in names]


def scoring(run: Run, asked: Scoring, preset: Scoring) -> Scoring:
    """What is rated and blended.

    A list that the preset has set names systems of the whole experiment: of it, what
    this run does not score is left out. A list that the user has set must be right.

    Args:
        run: what is trained.
        asked: the options, which are the preset's where the user gave none.
        preset: what the preset says.

    Raises:
        UserError: the user names a method that neither this run nor an earlier one
            trains. Of a shared model the name is not known yet.
    """
    blended = _methods(run, "dry_blend_methods", asked, preset)
    if not blended and not run.shared:
        blended = list(run.methods[-1:])
    return Scoring(
        dnsmos_methods=_methods(run, "dnsmos_methods", asked, preset),
        dnsmos_seeds=_seeds(run, asked, preset),
        dry_blend_methods=blended,
    )


def _methods(run: Run, option: str, asked: Scoring, preset: Scoring) -> list[str]:
    names = getattr(asked, option)
    if names == getattr(preset, option):
        return [name for name in names if run.scores(name)]
    for name in names:
        if not run.shared and not run.has(name):
            raise UserError(f"--{option} {name}: choose from {' '.join(run.methods)}")
    return list(names)


def _seeds(run: Run, asked: Scoring, preset: Scoring) -> list[int]:
    """A shared model has a seed of its own."""
    known = not run.shared and set(asked.dnsmos_seeds) <= set(run.seeds)
    if asked.dnsmos_seeds == preset.dnsmos_seeds and not known:
        return []
    return list(asked.dnsmos_seeds)
