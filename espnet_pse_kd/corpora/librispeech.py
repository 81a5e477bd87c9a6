"""Stage 1 for any folder in LibriSpeech's layout: ``SUBSET/SPEAKER/CHAPTER/*.flac``."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.inventory import (
    MIN_ROOMS_FOR_DEV,
    SPLITS,
    Utterance,
    check_files,
    file_id,
    hold_out_speakers,
    recording_of,
    room_of,
    split_folder,
    write_noise,
    write_speech,
)
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_table


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


def _scan_split(
    root: Path, patterns: Sequence[str], genders: dict[str, str]
) -> list[Utterance]:
    subsets = find_subsets(root, patterns)
    return [u for subset in subsets for u in scan_subset(subset, genders)]


def scan_speech(
    folder: Path,
    train_subsets: Sequence[str],
    dev_subsets: Sequence[str],
    test_subsets: Sequence[str],
    dev_speakers: int,
    seed: int,
) -> dict[str, list[Utterance]]:
    """Utterances per split, disjoint in speakers.

    Raises:
        UserError: a subset is missing, or a speaker is in two splits.
    """
    root = corpus_root(folder)
    genders = read_genders(root)
    train = _scan_split(root, train_subsets, genders)
    test = _scan_split(root, test_subsets, genders)
    for name, found, patterns in (
        ("train", train, train_subsets),
        ("test", test, test_subsets),
    ):
        if not found:
            raise UserError(
                f"{root}: no subset matches {' '.join(patterns)}; "
                f"give its name with --{name}_subsets"
            )
    dev = _scan_split(root, dev_subsets, genders)
    if not dev:
        train, dev = hold_out_speakers(train, dev_speakers, seed)
    splits = {"train": train, "dev": dev, "test": test}
    owner: dict[str, str] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            if owner.setdefault(utterance.speaker, split) != split:
                raise UserError(
                    f"{utterance.path}: speaker {utterance.speaker} is in "
                    f"{owner[utterance.speaker]} and {split}; remove him from one"
                )
    return splits


def prepare_librispeech(
    data_dir: Path,
    librispeech: Path,
    noise: Path,
    rir: Path | None = None,
    train_subsets: Sequence[str] = ("train*",),
    dev_subsets: Sequence[str] = ("dev*",),
    test_subsets: Sequence[str] = ("test*",),
    dev_speakers: int = 10,
    min_noise_seconds: float = 1.0,
    simulated_dev_rooms: bool = True,
    full_check: bool = True,
    seed: int = 0,
    nj: int = 1,
) -> None:
    """Write the inventory of a LibriSpeech-like corpus, without simulated rooms.

    Args:
        data_dir: folder of the splits.
        librispeech: folder that holds the subsets.
        noise: folder of noise recordings, with or without train/ and test/.
        rir: folder of measured mono responses, likewise.
        train_subsets: name patterns of the subset folders to train on.
        dev_subsets: likewise; where none matches, ``dev_speakers`` speakers are held
            out of the training subsets.
        test_subsets: likewise.
        dev_speakers: number of speakers to hold out.
        min_noise_seconds: shorter noise recordings are left out.
        simulated_dev_rooms: the development set gets simulated rooms as well; it then
            takes none of fewer than `MIN_ROOMS_FOR_DEV` measured rooms.
        full_check: decode every file, not only its header.
        seed: of the splits.
        nj: processes.

    Raises:
        UserError: anything is missing or not readable 16 kHz mono audio; nothing has
            been written then.
    """
    speech = scan_speech(
        librispeech, train_subsets, dev_subsets, test_subsets, dev_speakers, seed
    )
    noises = split_folder(noise, recording_of, seed)
    min_rooms = MIN_ROOMS_FOR_DEV if simulated_dev_rooms else 0
    rooms = split_folder(rir, room_of, seed, min_rooms) if rir else {}
    paths = [u.path for split in SPLITS for u in speech[split]]
    paths += [p for split in SPLITS for p in noises[split] + rooms.get(split, [])]
    lengths = dict(zip(paths, check_files(paths, nj, full_check)))
    for split in SPLITS:
        folder = data_dir / split
        write_speech(
            folder / "speech",
            [
                replace(u, path=u.path.resolve(), samples=lengths[u.path])
                for u in speech[split]
            ],
        )
        long = {
            file_id(p, noise): p
            for p in noises[split]
            if lengths[p] >= min_noise_seconds * SAMPLE_RATE
        }
        if not long:
            raise UserError(
                f"{noise}: no {split} noise of {min_noise_seconds} s or longer; "
                "add noises or lower --min_noise_seconds"
            )
        write_noise(
            folder / "noise",
            {uid: p.resolve() for uid, p in long.items()},
            {uid: lengths[p] for uid, p in long.items()},
        )
        measured = folder / "rir" / "measured.scp"
        measured.unlink(missing_ok=True)
        if rir and rooms[split]:
            write_table(measured, {file_id(p, rir): p.resolve() for p in rooms[split]})
