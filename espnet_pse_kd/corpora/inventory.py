"""Corpus inventory of stage 1: checked recordings, disjoint splits, Kaldi folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.index import open_index
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_spk2utt, write_table

SPLITS = ("train", "dev", "test")
AUDIO_SUFFIXES = (".flac", ".wav", ".ogg")
MIN_SPEAKERS = 3
"""Fewest speakers of a split: target, interferer, and one whose voice is absent."""
MIN_HALF_SECONDS = 2.0
"""A speaker's only recording is halved if its halves are at least this long."""
# The tenth of fewer rooms is one room, or none: a fifth of the development set would
# sound like that room alone, unlike training and test.
MIN_ROOMS_FOR_DEV = 20
"""Fewest measured rooms of which the development set takes some."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clean recording of one speaker, or a stretch of one.

    Attributes:
        uid: key of the Kaldi tables.
        path: 16 kHz mono file.
        speaker: speaker id.
        gender: ``m``, ``f``, or empty where it is not known.
        text: transcript in upper case, empty where it is not known.
        samples: length; 0 before the file is checked, for all of it.
        start: first sample in the file.
        corpus: name of the corpus.
        weight: how often the speaker is drawn, compared with those of other corpora.
    """

    uid: str
    path: Path
    speaker: str
    gender: str = ""
    text: str = ""
    samples: int = 0
    start: int = 0
    corpus: str = ""
    weight: float = 1.0


def audio_files(folder: Path) -> list[Path]:
    """All audio files below a folder, in a reproducible order.

    Raises:
        UserError: the folder is missing or holds no audio.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct the path of the corpus")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not files:
        kinds = ", ".join(AUDIO_SUFFIXES)
        raise UserError(f"{folder}: no audio files ({kinds}); correct the path")
    return files


def split_by_group(
    items: Sequence[Path],
    group: Callable[[Path], str],
    shares: dict[str, float],
    seed: int,
    what: str,
) -> dict[str, list[Path]]:
    """Split files so that no group (recording, room) is in two splits.

    Args:
        items: files.
        group: name of the group that a file belongs to.
        shares: share of the groups per split; the first split takes the rest.
        seed: of the shuffle.
        what: named in the error.

    Raises:
        UserError: there are fewer groups than splits.
    """
    groups = sorted({group(item) for item in items})
    if len(groups) < len(shares):
        raise UserError(
            f"{what}: {len(groups)} different recordings ({', '.join(groups)}) for "
            f"{len(shares)} disjoint splits ({', '.join(shares)}); add some"
        )
    order = np.random.default_rng([seed, 11]).permutation(len(groups))
    rest, *others = shares
    split_of: dict[str, str] = {}
    start = 0
    for split in others:
        count = max(1, round(shares[split] * len(groups)))
        for index in order[start : start + count]:
            split_of[groups[index]] = split
        start += count
    result: dict[str, list[Path]] = {split: [] for split in shares}
    for item in items:
        result[split_of.get(group(item), rest)].append(item)
    return result


def recording_of(path: Path) -> str:
    """Recording that a noise file was cut from: ``NAME-A`` and ``NAME-B`` are one."""
    return re.sub(r"-[A-Z]$", "", path.stem)


def room_of(path: Path) -> str:
    """Room of a measured response: the file name up to its first underscore."""
    return path.stem.split("_")[0]


def split_folder(
    folder: Path, group: Callable[[Path], str], seed: int, min_groups: int = 0
) -> dict[str, list[Path]]:
    """Files of a noise or room folder per split.

    ``train/`` and ``test/`` (and ``dev/``) subfolders are kept where they exist, and
    a missing ``dev`` is taken out of ``train``; otherwise the files are split 80, 10
    and 10 %, always by recording or room. Of fewer than ``min_groups`` recordings or
    rooms none is taken for ``dev``: it has no files then.
    """
    divided = (folder / "train").is_dir() and (folder / "test").is_dir()
    rest = folder / "train" if divided else folder
    files = audio_files(rest)
    result: dict[str, list[Path]] = {"dev": []}
    shares = {"train": 0.8, "dev": 0.1, "test": 0.1}
    if divided:
        result["test"] = audio_files(folder / "test")
        del shares["test"]
    if divided and (folder / "dev").is_dir():
        result["dev"] = audio_files(folder / "dev")
        del shares["dev"]
    elif len({group(path) for path in files}) < min_groups:
        del shares["dev"]
    return result | split_by_group(files, group, shares, seed, str(rest))


def hold_out_speakers(
    utterances: Sequence[Utterance], count: int, seed: int
) -> tuple[list[Utterance], list[Utterance]]:
    """Take a development set out of the training speakers.

    Speakers with two or more recordings are taken first (their enrolment then comes
    from another recording), half of them of each sex where the sexes are known.

    Returns:
        (remaining utterances, held-out utterances)
    """
    by_speaker = group_by_speaker(utterances)
    if len(by_speaker) < count + MIN_SPEAKERS:
        raise UserError(
            f"--dev_speakers {count}: the training subsets have {len(by_speaker)} "
            f"speakers and {MIN_SPEAKERS} must remain; lower it"
        )
    names = sorted(by_speaker)
    order = np.random.default_rng([seed, 12]).permutation(len(names))
    names = sorted(
        (names[index] for index in order), key=lambda name: len(by_speaker[name]) < 2
    )
    held: list[str] = []
    for gender in ("f", "m"):
        same = [name for name in names if by_speaker[name][0].gender == gender]
        held += same[: count // 2]
    held += [name for name in names if name not in held][: count - len(held)]
    chosen = set(held)
    out = [u for u in utterances if u.speaker in chosen]
    return [u for u in utterances if u.speaker not in chosen], out


def group_by_speaker(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Map each speaker to his utterances."""
    result: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        result.setdefault(utterance.speaker, []).append(utterance)
    return result


def seconds(samples: int) -> str:
    """Duration as the tables hold it: exact to the sample."""
    return f"{samples / SAMPLE_RATE:.6f}"


def file_id(path: Path, root: Path) -> str:
    """Table key of a file: its path below ``root`` without suffix and spaces."""
    name = "_".join(path.relative_to(root).with_suffix("").parts)
    return re.sub(r"[^\w.+-]+", "_", name)


def write_speech(folder: Path, utterances: Sequence[Utterance]) -> None:
    """Write ``speech/`` of one split.

    Raises:
        UserError: fewer than `MIN_SPEAKERS` speakers, or an id occurs twice.
    """
    speakers = group_by_speaker(utterances)
    if len(speakers) < MIN_SPEAKERS:
        raise UserError(
            f"{folder.parent.name}: {len(speakers)} speakers, {MIN_SPEAKERS} needed "
            "(target, interferer, absent speaker); add speakers or another subset"
        )
    table = {u.uid: u for u in utterances}
    if len(table) < len(utterances):
        twice = next(u for u in utterances if table[u.uid] is not u)
        raise UserError(f"{twice.path}: id {twice.uid!r} occurs twice; rename one")
    utt2spk = {uid: u.speaker for uid, u in table.items()}
    _write_recordings(folder, table)
    write_table(folder / "utt2spk", utt2spk)
    write_spk2utt(folder / "spk2utt", utt2spk)
    write_table(
        folder / "utt2dur", {uid: seconds(u.samples) for uid, u in table.items()}
    )
    genders = {name: us[0].gender for name, us in speakers.items() if us[0].gender}
    _write_optional(folder / "spk2gender", genders)
    texts = {uid: u.text for uid, u in table.items() if u.text}
    _write_optional(folder / "text", texts)
    weights = {name: f"{us[0].weight:g}" for name, us in speakers.items()}
    equal = len(set(weights.values())) == 1
    _write_optional(folder / "spk2weight", {} if equal else weights)
    open_index(folder)


def _write_recordings(folder: Path, table: dict[str, Utterance]) -> None:
    """Write ``wav.scp``; with ``segments``, where a file holds several utterances."""
    whole = len({u.path for u in table.values()}) == len(table)
    if whole and not any(u.start for u in table.values()):
        _write_optional(folder / "segments", {})
        write_table(folder / "wav.scp", {uid: u.path for uid, u in table.items()})
        return
    recordings: dict[Path, str] = {}
    for uid, utterance in table.items():
        recordings.setdefault(utterance.path, uid)
    write_table(folder / "wav.scp", {uid: path for path, uid in recordings.items()})
    write_table(
        folder / "segments",
        {
            uid: f"{recordings[u.path]} {seconds(u.start)} "
            f"{seconds(u.start + u.samples)}"
            for uid, u in table.items()
        },
    )


def _write_optional(path: Path, table: dict[str, str]) -> None:
    if table:
        write_table(path, table)
    else:
        path.unlink(missing_ok=True)


def write_noise(folder: Path, files: dict[str, Path], samples: dict[str, int]) -> None:
    """Write ``noise/`` of one split."""
    write_table(folder / "wav.scp", files)
    write_table(folder / "utt2dur", {uid: seconds(n) for uid, n in samples.items()})
