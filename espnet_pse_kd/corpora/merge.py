"""Several corpora as one: names that do not collide, one place for every speaker."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from espnet_pse_kd.corpora.inventory import SPLITS, Utterance, hold_out_speakers
from espnet_pse_kd.corpora.kaldi_folder import is_kaldi_folder, read_kaldi
from espnet_pse_kd.corpora.librispeech import (
    Subsets,
    held_out_subset,
    reader_of,
    scan_librispeech,
)
from espnet_pse_kd.errors import UserError

KINDS = ("kaldi", "librispeech")
_SPECIFICATION = re.compile(
    rf"(?:(?P<kind>{'|'.join(KINDS)}):)?(?P<folder>.+?)(?::(?P<weight>[0-9.]+))?"
)
Splits = dict[str, list[Utterance]]


@dataclass(frozen=True)
class Corpus:
    """A corpus to take voices from.

    Attributes:
        kind: one of `KINDS`.
        folder: in LibriSpeech's layout; or a Kaldi data folder, which is for training,
            or a folder of such folders named train, dev and test.
        weight: how often each of its speakers is drawn, compared with those of others.
    """

    kind: str
    folder: Path
    weight: float = 1.0

    @property
    def name(self) -> str:
        """What its speakers' names begin with."""
        return re.sub(r"[^\w.+]+", "_", self.folder.resolve().name)


@dataclass(frozen=True)
class SplitOptions:
    """Who is in which split.

    Attributes:
        subsets: of folders in LibriSpeech's layout.
        dev_speakers: number of training speakers to hold out where no corpus has
            development speakers.
        listed: names of speakers who are for development, whatever folder they are in.
        replace_speakers: a later corpus' recordings of a known speaker replace the
            former's; otherwise he is refused.
        seed: of the choice of speakers to hold out.
    """

    subsets: Subsets = field(default_factory=Subsets)
    dev_speakers: int = 10
    listed: frozenset[str] = frozenset()
    replace_speakers: bool = False
    seed: int = 0


def parse_corpus(text: str, kind: str) -> Corpus:
    """Read ``[KIND:]FOLDER[:WEIGHT]``.

    Args:
        text: as given.
        kind: of a corpus that names none.

    Raises:
        UserError: there is no such folder, or the weight is not above 0.
    """
    match = _SPECIFICATION.fullmatch(text)
    if match is None:
        raise UserError(f"--corpora {text!r}: write [KIND:]FOLDER[:WEIGHT]")
    try:
        weight = float(match["weight"] or 1)
    except ValueError:
        weight = 0.0
    if not 0.001 <= weight <= 1000:
        raise UserError(f"--corpora {text}: give a weight from 0.001 to 1000")
    folder = Path(match["folder"])
    if not folder.is_dir():
        raise UserError(
            f"--corpora {text}: no such folder; write [KIND:]FOLDER[:WEIGHT], where "
            f"KIND is {' or '.join(KINDS)}"
        )
    return Corpus(match["kind"] or kind, folder, weight)


def read_speaker_list(path: Path) -> frozenset[str]:
    """Names of speakers, one per line; ``#`` begins a comment.

    Raises:
        UserError: there is no such file, or it names nobody.
    """
    if not path.is_file():
        raise UserError(f"--dev_speaker_list {path}: no such file; correct the path")
    lines = (line.partition("#")[0] for line in path.read_text("utf-8").splitlines())
    names = frozenset(line.strip() for line in lines if line.strip())
    if not names:
        raise UserError(f"--dev_speaker_list {path}: it names no speaker; add some")
    return names


def scan_corpora(corpora: Sequence[Corpus], options: SplitOptions) -> Splits:
    """Utterances per split, disjoint in speakers; the files are not yet checked.

    Speakers of Kaldi folders are named ``CORPUS-SPEAKER``. Readers of LibriSpeech,
    known by their utterance ids wherever they are, keep their number.

    Raises:
        UserError: a folder is incomplete, a known speaker is in two folders or somebody
            in two splits, or a reader of LibriSpeech's dev or test sets is in training.
    """
    names = Counter(corpus.name for corpus in corpora if corpus.kind == "kaldi")
    for name, count in names.items():
        if count > 1:
            raise UserError(f"--corpora: two folders are named {name!r}; rename one")
    merged: Splits = {split: [] for split in SPLITS}
    for corpus in corpora:
        _add(merged, _scan(corpus, options.subsets), corpus, options)
    _refuse_incomplete(merged, corpora, options)
    if not merged["dev"]:
        merged["train"], merged["dev"] = hold_out_speakers(
            merged["train"], options.dev_speakers, options.seed
        )
    _refuse_held_out(merged["train"])
    _refuse_two_splits(merged)
    return merged


def _scan(corpus: Corpus, subsets: Subsets) -> Splits:
    """Utterances of one corpus, under the names that they have among others."""
    if corpus.kind == "librispeech":
        scanned = scan_librispeech(corpus.folder, subsets)
    elif is_kaldi_folder(corpus.folder):
        scanned = {"train": read_kaldi(corpus.folder)}
    else:
        scanned = {
            split: read_kaldi(corpus.folder / split)
            for split in SPLITS
            if is_kaldi_folder(corpus.folder / split)
        }
        if not scanned:
            raise UserError(
                f"{corpus.folder}: no wav.scp, in it or below {', '.join(SPLITS)}; "
                "give a Kaldi data folder"
            )
    return {
        split: [_named(utterance, corpus) for utterance in utterances]
        for split, utterances in scanned.items()
    }


def _named(utterance: Utterance, corpus: Corpus) -> Utterance:
    reader = reader_of(utterance.uid)
    named = replace(utterance, corpus=corpus.name, weight=corpus.weight)
    if reader or corpus.kind == "librispeech":
        return replace(named, speaker=reader or utterance.speaker)
    return replace(
        named,
        uid=_plain(f"{corpus.name}-{utterance.uid}"),
        speaker=_plain(f"{corpus.name}-{utterance.speaker}"),
    )


def _plain(name: str) -> str:
    """A name that is part of file names and of comma-separated lists."""
    return re.sub(r"[^\w.+-]+", "_", name)


def _add(merged: Splits, found: Splits, corpus: Corpus, options: SplitOptions) -> None:
    """Add a corpus: listed speakers to dev, known ones refused or replaced."""
    listed = options.listed
    known = {u.speaker for split in SPLITS for u in merged[split]}
    moved = {
        "train": [u for u in found.get("train", []) if u.speaker not in listed],
        "dev": [
            u
            for split in ("train", "dev")
            for u in found.get(split, [])
            if split == "dev" or u.speaker in listed
        ],
        "test": found.get("test", []),
    }
    again = {u.speaker for utterances in moved.values() for u in utterances} & known
    # Their trials are fixed: the recordings of the first folder remain.
    kept = again & (listed | {u.speaker for u in merged["dev"]})
    if again and not options.replace_speakers:
        first = min(again)
        where = next(u.path for s in SPLITS for u in merged[s] if u.speaker == first)
        raise UserError(
            f"{corpus.folder}: speaker {first} is in {where.parent} as well "
            f"({len(again)} known speakers in all); remove one of the folders, or let "
            "the later one's recordings replace the former's (--replace_speakers)"
        )
    if again:
        print(
            f"{corpus.name}: replaces {len(again - kept)} known speakers; {len(kept)} "
            "development speakers are left out of it",
            file=sys.stderr,
        )
    for split in SPLITS:
        rest = [u for u in merged[split] if u.speaker not in again - kept]
        merged[split] = rest + [u for u in moved[split] if u.speaker not in kept]


def _refuse_incomplete(
    merged: Splits, corpora: Sequence[Corpus], options: SplitOptions
) -> None:
    folders = " ".join(str(corpus.folder) for corpus in corpora)
    for split, patterns in (
        ("train", options.subsets.train),
        ("test", options.subsets.test),
    ):
        if not merged[split]:
            raise UserError(
                f"{folders}: no {split} speakers; no subset matches "
                f"{' '.join(patterns)}: give its name with --{split}_subsets, or a "
                f"Kaldi folder named {split}"
            )
    present = {u.speaker for split in SPLITS for u in merged[split]}
    if options.listed and not options.listed & present:
        raise UserError(
            f"--dev_speaker_list: none of its {len(options.listed)} speakers "
            f"({min(options.listed)}, ...) is in {folders}; correct the list"
        )


def _refuse_held_out(train: Sequence[Utterance]) -> None:
    for speaker in sorted({u.speaker for u in train}):
        if subset := held_out_subset(speaker):
            path = next(u.path for u in train if u.speaker == speaker)
            raise UserError(
                f"{path}: speaker {speaker} is of LibriSpeech's {subset}, which is for "
                "development and tests only; remove him from the training folder"
            )


def _refuse_two_splits(splits: Splits) -> None:
    owner: dict[str, str] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            if owner.setdefault(utterance.speaker, split) != split:
                raise UserError(
                    f"{utterance.path}: speaker {utterance.speaker} is in "
                    f"{owner[utterance.speaker]} and {split}; remove him from one"
                )
