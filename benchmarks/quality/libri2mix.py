"""Libri2Mix test mix_clean at 16 kHz, mixed from LibriSpeech test-clean as it is read.

The list beside this file has LibriMix's mixtures and gains (Cosentino et al., arXiv
2005.11262) and an enrolment of each target, drawn by `libri2mix_list`.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from benchmarks.quality.trials import Signals, Trial, fixed_order
from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.errors import UserError

LIST = Path(__file__).with_name("libri2mix_test.csv")
SUBSET = "test-clean"
MIXTURES = 3000
Mode = Literal["max", "min"]
MODES: tuple[Mode, ...] = ("max", "min")


class Mixture(NamedTuple):
    """A line of the list; pairs are of the first and the second source.

    Attributes:
        sources: LibriSpeech's ids of the utterances.
        gains: what they are multiplied by.
        sexes: M or F.
        enrolments: ids of other utterances of the same speakers.
    """

    sources: tuple[str, str]
    gains: tuple[float, float]
    sexes: tuple[str, str]
    enrolments: tuple[str, str]

    @property
    def name(self) -> str:
        """LibriMix's id."""
        return "_".join(self.sources)


COLUMNS = tuple(f"{name}_{k}" for name in Mixture._fields for k in (1, 2))


def read_list(path: Path = LIST, mixtures: int = MIXTURES) -> list[Mixture]:
    """Read the list.

    Raises:
        UserError: it is missing, damaged or cut off.
    """
    remedy = "restore it (git checkout), or make it with benchmarks.quality."
    remedy += "libri2mix_list"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = [_mixture([row[column] for column in COLUMNS]) for row in rows]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {remedy}") from None
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not the list of mixtures; {remedy}") from None
    if len(found) != mixtures:
        raise UserError(f"{path}: {len(found)} of {mixtures} mixtures; {remedy}")
    return found


def _mixture(texts: Sequence[str]) -> Mixture:
    sources, gains, sexes, enrolments = zip(texts[::2], texts[1::2], strict=True)
    return Mixture(sources, (float(gains[0]), float(gains[1])), sexes, enrolments)


def subset_folder(librispeech: Path) -> Path:
    """The folder of test-clean: of what holds LibriSpeech's subsets, or itself.

    Raises:
        UserError: it is not there.
    """
    for folder in (librispeech / SUBSET, librispeech / "LibriSpeech" / SUBSET):
        if folder.is_dir():
            return folder
    if librispeech.name == SUBSET and librispeech.is_dir():
        return librispeech
    raise UserError(
        f"{librispeech}: holds no {SUBSET}; give the folder of LibriSpeech, from "
        "https://www.openslr.org/12"
    )


def path_of(folder: Path, utterance: str) -> Path:
    """File of an utterance, by LibriSpeech's layout."""
    speaker, chapter, _ = utterance.split("-")
    return folder / speaker / chapter / f"{utterance}.flac"


def trials(
    librispeech: Path, count: int | None = None, modes: Sequence[Mode] = MODES
) -> list[Trial]:
    """Both targets of each mixture, in each mode.

    Args:
        librispeech: see `subset_folder`.
        count: trials of a mode, the first so many in a fixed order; None for all.
        modes: ``max`` lasts as long as the longer source, ``min`` as the shorter one.

    Raises:
        UserError: the list or a recording is missing; ``count`` is odd or too large.
    """
    mixtures = read_list()
    folder = subset_folder(librispeech)
    if count is not None and (count % 2 or not 0 < count <= 2 * len(mixtures)):
        raise UserError(
            f"--trials {count}: both targets of a mixture are scored; give an even "
            f"number, at most {2 * len(mixtures)}"
        )
    if count is not None:
        mixtures = fixed_order(mixtures, lambda mixture: mixture.name)[: count // 2]
    _check_files(folder, mixtures)
    return [
        _trial(folder, mixture, target, mode)
        for mode in modes
        for mixture in mixtures
        for target in (0, 1)
    ]


def _check_files(folder: Path, mixtures: Sequence[Mixture]) -> None:
    names = {name for m in mixtures for name in (*m.sources, *m.enrolments)}
    lost = [p for name in sorted(names) if not (p := path_of(folder, name)).is_file()]
    if lost:
        raise UserError(
            f"{lost[0]}: no such recording ({len(lost)} of {len(names)} are missing); "
            f"complete {folder} (https://www.openslr.org/12)"
        )


def _trial(folder: Path, mixture: Mixture, target: int, mode: Mode) -> Trial:
    paths = tuple(path_of(folder, name) for name in mixture.sources)
    return Trial(
        uid=f"{mode} {mixture.name} {target + 1}",
        scenario=mode,
        target=mixture.sources[target].split("-")[0],
        enrolment=(path_of(folder, mixture.enrolments[target]),),
        read=functools.partial(read, paths, mixture.gains, target, mode),
        facts={"mixture": mixture.name, "sexes": "".join(sorted(mixture.sexes))},
    )


def read(
    paths: Sequence[Path], gains: Sequence[float], target: int, mode: Mode
) -> Signals:
    """Mix as LibriMix does: gains, then zeros behind the shorter source, or a cut.

    Args:
        paths: of both sources. gains: of both.
        target: 0 or 1.
        mode: see `trials`.
    """
    sources = [np.float32(g) * read_audio(p) for p, g in zip(paths, gains, strict=True)]
    lengths = [len(source) for source in sources]
    length = max(lengths) if mode == "max" else min(lengths)
    first, second = (np.pad(s, (0, max(length - len(s), 0)))[:length] for s in sources)
    pair = (first, second)
    return Signals(first + second, pair[target], pair[1 - target])
