"""Folders in LibriSpeech's layout, ``SUBSET/SPEAKER/CHAPTER/*.flac``; its readers."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_pse_kd.corpora.inventory import Utterance
from espnet_pse_kd.errors import UserError


def read_genders(root: Path) -> dict[str, str]:
    """Sex per speaker from ``SPEAKERS.TXT``; empty where the file is missing."""
    path = root / "SPEAKERS.TXT"
    genders: dict[str, str] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = [field.strip() for field in line.split("|")]
            if not line.startswith(";") and len(fields) > 1:
                genders[fields[0]] = fields[1].lower()[:1]
    return genders


def read_transcripts(chapter: Path) -> dict[str, str]:
    """Transcripts of a chapter; utterances that are not listed have none."""
    texts: dict[str, str] = {}
    for path in sorted(chapter.glob("*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            uid, _, text = line.partition(" ")
            if text.strip():
                texts[uid] = text.strip().upper()
    return texts


def corpus_root(folder: Path) -> Path:
    """The folder of the subsets: ``folder`` itself or ``folder/LibriSpeech``."""
    if not folder.is_dir():
        raise UserError(
            f"--librispeech {folder}: no such folder; give the folder that holds "
            "train-*/ and test-*/ (https://www.openslr.org/12)"
        )
    inner = folder / "LibriSpeech"
    return inner if inner.is_dir() else folder


def find_subsets(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Subset folders whose names match one of the patterns."""
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    return [p for p in folders if any(fnmatch.fnmatch(p.name, q) for q in patterns)]


def scan_subset(subset: Path, genders: dict[str, str]) -> list[Utterance]:
    """Utterances of one subset, not yet checked.

    Raises:
        UserError: the subset has no speaker, or a speaker has no recording.
    """
    speakers = sorted(p for p in subset.iterdir() if p.is_dir())
    if not speakers:
        raise UserError(f"{subset}: no speaker folders; fetch the subset again")
    result = []
    for speaker in speakers:
        files = sorted(speaker.glob("*/*.flac")) or sorted(speaker.glob("*/*.wav"))
        if not files:
            raise UserError(
                f"{speaker}: speaker without recordings; remove the folder or fetch it"
            )
        texts = {
            uid: text
            for chapter in sorted({path.parent for path in files})
            for uid, text in read_transcripts(chapter).items()
        }
        gender = genders.get(speaker.name, "")
        result += [
            Utterance(p.stem, p, speaker.name, gender, texts.get(p.stem, ""))
            for p in files
        ]
    return result


@dataclass(frozen=True)
class Subsets:
    """Name patterns of the subset folders of each split."""

    train: Sequence[str] = ("train*",)
    dev: Sequence[str] = ("dev*",)
    test: Sequence[str] = ("test*",)


def scan_librispeech(folder: Path, subsets: Subsets) -> dict[str, list[Utterance]]:
    """Utterances per split, not yet checked; a split may have none.

    Raises:
        UserError: no subset matches, or one of LibriSpeech's dev and test sets is to be
            trained on.
    """
    root = corpus_root(folder)
    genders = read_genders(root)
    result = {}
    for split, patterns in vars(subsets).items():
        found = find_subsets(root, patterns)
        held_out = [p.name for p in found if p.name in _held_out().values()]
        if split == "train" and held_out:
            raise UserError(
                f"--train_subsets {' '.join(patterns)}: {root / held_out[0]} is for "
                "development and tests only; give other names"
            )
        result[split] = [u for p in found for u in scan_subset(p, genders)]
    if not any(result.values()):
        raise UserError(
            f"{root}: no subset matches {' '.join(subsets.train)}; give its name with "
            "--train_subsets, or another folder"
        )
    return result


_READER = re.compile(r"(\d+)[-_]\d+[-_]\d{4,6}(_\d{6})?")


def reader_of(uid: str) -> str:
    """LibriVox reader of an utterance, by an id as LibriSpeech and LibriTTS have them.

    Returns:
        his number, the same in all corpora made from LibriVox; empty for other ids.
    """
    match = _READER.fullmatch(uid)
    return match[1] if match else ""


@functools.cache
def _held_out() -> dict[str, str]:
    """LibriSpeech's dev or test subset per reader of one."""
    table = Path(__file__).with_name("librispeech_held_out.txt").read_text("utf-8")
    lines = (line.split() for line in table.splitlines())
    return {reader: subset for subset, *readers in lines for reader in readers}


def held_out_subset(speaker: str) -> str:
    """The dev or test subset of LibriSpeech that a reader is in; empty for none."""
    return _held_out().get(speaker, "")
