"""A corpus that lists pick out of the full LibriSpeech, and the check of one."""

from __future__ import annotations

import csv
import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_pse_kd.corpora.checks import check_files
from espnet_pse_kd.corpora.inventory import AUDIO_SUFFIXES, file_id
from espnet_pse_kd.corpora.librispeech import corpus_root, read_transcripts
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open

UTTERANCE_COLUMNS = ["id", "subset", "split", "samples", "transcript"]
FILE_COLUMNS = ["file", "split", "start", "seconds", "licence", "source", "url"]
_SPEAKERS = "SPEAKERS.TXT"
_NAMED = 5


@dataclass(frozen=True)
class ListedUtterance:
    """An utterance of LibriSpeech that a corpus uses.

    Attributes:
        uid: LibriSpeech's id, ``SPEAKER-CHAPTER-NUMBER``.
        subset: folder of LibriSpeech that it comes from.
        split: folder of the corpus that it goes to.
        samples: length.
        transcript: the corpus uses its transcript.
    """

    uid: str
    subset: str
    split: str
    samples: int
    transcript: bool

    @property
    def speaker(self) -> str:
        return self.uid.split("-")[0]

    @property
    def chapter(self) -> Path:
        """Folder below that of the subset or split."""
        return Path(*self.uid.split("-")[:2])

    @property
    def file(self) -> Path:
        """FLAC file below the folder of the subset or split."""
        return self.chapter / f"{self.uid}.flac"

    @property
    def transcripts(self) -> Path:
        """Transcripts of the chapter, likewise."""
        return self.chapter / f"{'-'.join(self.chapter.parts)}.trans.txt"


@dataclass(frozen=True)
class ListedFile:
    """A noise recording or measured response that a corpus uses.

    Attributes:
        file: its name.
        split: its folder, ``train`` or ``test``.
        start: where in the published file it begins, in seconds.
        seconds: its length.
        licence: of the published file.
        source: who published it.
        url: of the published file.
    """

    file: str
    split: str
    start: float
    seconds: float
    licence: str
    source: str
    url: str


@dataclass(frozen=True)
class Layout:
    """The files of a corpus.

    Attributes:
        root: folder of the splits.
        audio: published file per file of the corpus.
        texts: content per table of transcripts or speakers.
    """

    root: Path
    audio: dict[Path, Path]
    texts: dict[Path, str]


def _read_rows(path: Path, columns: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Place and fields of every line; the first field occurs once."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; correct --lists")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or rows[0] != columns or len(rows) < 2:
        raise UserError(f"{path}: expected the columns {' '.join(columns)} and lines")
    seen = set()
    for number, row in enumerate(rows[1:], 2):
        place = f"{path}:{number}"
        if len(row) != len(columns):
            raise UserError(f"{place}: {row}; expected {' '.join(columns)}")
        if row[0] in seen:
            raise UserError(f"{place}: {row[0]!r} occurs twice; remove one")
        seen.add(row[0])
        yield place, row


def read_utterances(path: Path) -> list[ListedUtterance]:
    """Read a list of utterances.

    Raises:
        UserError: the file is missing or empty, a line does not have the columns, or
            an id occurs twice.
    """
    result = []
    for place, row in _read_rows(path, UTTERANCE_COLUMNS):
        uid, subset, split, samples, transcript = row
        if uid.count("-") != 2 or not samples.isdecimal():
            raise UserError(
                f"{place}: {uid} {samples}; give SPEAKER-CHAPTER-NUMBER and a length"
            )
        if transcript not in ("yes", "no"):
            raise UserError(f"{place}: transcript {transcript!r}; give yes or no")
        used = transcript == "yes"
        result.append(ListedUtterance(uid, subset, split, int(samples), used))
    return result


def read_files(path: Path) -> list[ListedFile]:
    """Read a list of noises or rooms.

    Raises:
        UserError: as `read_utterances`, of names.
    """
    result = []
    for place, row in _read_rows(path, FILE_COLUMNS):
        file, split, start, seconds, licence, source, url = row
        try:
            times = float(start), float(seconds)
        except ValueError:
            raise UserError(f"{place}: {start} {seconds}; give seconds") from None
        result.append(ListedFile(file, split, *times, licence, source, url))
    return result


def _some(names: Sequence[object]) -> str:
    """The first few names, and how many more there are."""
    more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*map(str, names[:_NAMED]), *more])


def _find(roots: Sequence[Path], path: Path) -> Path:
    """``path`` below the first root that has it, or else below the first root."""
    return next((r / path for r in roots if (r / path).is_file()), roots[0] / path)


def _find_audio(
    utterances: Sequence[ListedUtterance], names: Sequence[Path], roots: Sequence[Path]
) -> list[Path]:
    """Paths of the files ``names`` below the roots; all have the listed length."""
    paths = [_find(roots, name) for name in names]
    missing = [index for index, path in enumerate(paths) if not path.is_file()]
    if missing:
        subsets = sorted({utterances[index].subset for index in missing})
        raise UserError(
            f"{' '.join(map(str, roots))}: {len(missing)} of {len(names)} utterances "
            f"are missing: {_some([names[index] for index in missing])}; fetch "
            f"{' '.join(subsets)} from https://www.openslr.org/12"
        )
    lengths = check_files(paths, full=False)
    wrong = [
        f"{path} ({lengths[path]} samples, listed {u.samples})"
        for u, path in zip(utterances, paths)
        if lengths[path] != u.samples
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} utterances do not have the listed length: {_some(wrong)}; "
            "fetch them again"
        )
    return paths


def _read_texts(
    utterances: Sequence[ListedUtterance], paths: Sequence[Path]
) -> dict[str, str]:
    """Transcripts that lie beside the files; all that are listed are among them."""
    texts: dict[str, str] = {}
    for chapter in sorted({path.parent for path in paths}):
        texts |= read_transcripts(chapter)
    missing = [u.uid for u in utterances if u.transcript and u.uid not in texts]
    if missing:
        raise UserError(
            f"{paths[0].parents[2]}: {len(missing)} transcripts are missing: "
            f"{_some(missing)}; fetch the *.trans.txt again"
        )
    return texts


def _read_speakers(utterances: Sequence[ListedUtterance], roots: Sequence[Path]) -> str:
    """Comments of ``SPEAKERS.TXT``, and the rows of the listed speakers."""
    path = _find(roots, Path(_SPEAKERS))
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; it comes with every subset of LibriSpeech"
        )
    speakers = {u.speaker for u in utterances}
    rows = path.read_text(encoding="utf-8").splitlines()
    ids = [row.split("|")[0].strip() for row in rows]
    if missing := sorted(speakers - set(ids)):
        raise UserError(
            f"{path}: {len(missing)} speakers are missing: {_some(missing)}; "
            "fetch the file again"
        )
    kept = [row for row, name in zip(rows, ids) if row[:1] == ";" or name in speakers]
    return "\n".join(kept) + "\n"


def _check_no_others(utterances: Sequence[ListedUtterance], root: Path) -> None:
    """Check that the splits hold no other audio: stage 1 would take it as well."""
    listed = {root / u.split / u.file for u in utterances}
    others = [
        path
        for split in sorted({u.split for u in utterances})
        for path in sorted((root / split).rglob("*"))
        if path.suffix.lower() in AUDIO_SUFFIXES and path not in listed
    ]
    if others:
        raise UserError(
            f"{root}: {len(others)} files are not listed: {_some(others)}; "
            "remove them or give another folder"
        )


def plan_layout(
    utterances: Sequence[ListedUtterance], folders: Sequence[Path], out: Path
) -> Layout:
    """Find what a corpus takes from LibriSpeech; nothing is written.

    Args:
        utterances: the list.
        folders: where the subsets of LibriSpeech lie, in one folder or several.
        out: folder that ``LibriSpeech/`` is to be in.

    Raises:
        UserError: utterances, transcripts or speakers are missing, or utterances have
            another length.
    """
    roots = [corpus_root(folder) for folder in folders]
    root = out / "LibriSpeech"
    # Its train* would then match the published subset and the new split.
    if root.resolve() in [r.resolve() for r in roots]:
        raise UserError(f"--out {out}: it holds the full corpus; give another folder")
    sources = _find_audio(utterances, [u.subset / u.file for u in utterances], roots)
    known = _read_texts(utterances, sources)
    texts = {root / _SPEAKERS: _read_speakers(utterances, roots)}
    for u in utterances:
        if u.transcript:
            path = root / u.split / u.transcripts
            texts[path] = texts.get(path, "") + f"{u.uid} {known[u.uid]}\n"
    targets = [root / u.split / u.file for u in utterances]
    return Layout(root, dict(zip(targets, sources)), texts)


def _is_copy(path: Path, source: Path) -> bool:
    return path.samefile(source) or filecmp.cmp(path, source, shallow=False)


def _link(source: Path, path: Path) -> None:
    """Link a file, or copy it where that cannot be, as onto another disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), path)
    except OSError:
        with open(source, "rb") as original, atomic_open(path, "wb") as copy:
            shutil.copyfileobj(original, copy)


def write_layout(layout: Layout) -> int:
    """Write the files of a corpus that are not there yet, each of them atomically.

    Returns:
        Number of files written.

    Raises:
        UserError: a file is there and differs; nothing has been written then.
    """
    audio = {p: source for p, source in layout.audio.items() if p.exists()}
    texts = {p: text for p, text in layout.texts.items() if p.exists()}
    differing = [p for p, source in audio.items() if not _is_copy(p, source)]
    differing += [p for p, text in texts.items() if p.read_bytes() != text.encode()]
    if differing:
        raise UserError(
            f"{layout.root}: {len(differing)} files are there and differ: "
            f"{_some(differing)}; remove them or give another --out"
        )
    for path, source in layout.audio.items():
        if path not in audio:
            _link(source, path)
    for path, text in layout.texts.items():
        if path not in texts:
            with atomic_open(path) as file:
                file.write(text)
    return len(layout.audio) + len(layout.texts) - len(audio) - len(texts)


def select_utterances(
    utterances: Sequence[ListedUtterance], folders: Sequence[Path], out: Path
) -> int:
    """Lay a corpus out in LibriSpeech's form, ``out/LibriSpeech/SPLIT/...``.

    Audio files are hard links where these can be made, and copies elsewhere. What is
    there already is kept: the same command resumes an interrupted run.

    Args:
        utterances: the list.
        folders: where the subsets of LibriSpeech lie, in one folder or several.
        out: folder to write to.

    Returns:
        Number of files written.

    Raises:
        UserError: anything is missing, or other files are in the way; nothing has been
            written then.
    """
    layout = plan_layout(utterances, folders, out)
    _check_no_others(utterances, layout.root)
    return write_layout(layout)


def check_utterances(utterances: Sequence[ListedUtterance], folder: Path) -> None:
    """Check that a folder holds the listed utterances and transcripts, and no others.

    Args:
        utterances: the list.
        folder: ``out`` of `select_utterances`.

    Raises:
        UserError: something is missing, not listed, or has another length.
    """
    root = corpus_root(folder)
    paths = _find_audio(utterances, [u.split / u.file for u in utterances], [root])
    _check_no_others(utterances, root)
    texts = _read_texts(utterances, paths)
    if others := sorted(texts.keys() - {u.uid for u in utterances if u.transcript}):
        raise UserError(
            f"{root}: {len(others)} transcripts are not listed: {_some(others)}; "
            "remove them"
        )
    _read_speakers(utterances, [root])


def missing_files(listed: Sequence[ListedFile], folder: Path) -> list[ListedFile]:
    """The noises or rooms that a folder lacks, whatever the suffixes of its files.

    Raises:
        UserError: the folder holds audio that is not listed.
    """
    names = {file_id(Path(item.split, item.file), Path()): item for item in listed}
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    found = {file_id(path, folder): path for path in paths}
    if others := [path for name, path in found.items() if name not in names]:
        raise UserError(
            f"{folder}: {len(others)} files are not listed: {_some(others)}; "
            "remove them or give another folder"
        )
    return [item for name, item in names.items() if name not in found]
