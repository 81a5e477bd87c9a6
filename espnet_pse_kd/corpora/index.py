"""The utterances of a split as memory-mapped columns: a million of them cost nothing.

Kaldi's text tables are what stage 1 writes and what people read. Parsed into
dictionaries they cost a process a gigabyte and minutes at the size of large corpora, so
that they are turned once into NumPy columns beside them. Every process maps these, and
touches no more than the rows that it uses.
"""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import read_table, same_keys

FOLDER = "index-"
"""Start of the name of the folder of columns; the rest is a digest of the tables."""
WEIGHT_STEPS = 1000
"""Weights are kept in thousandths: sums of integers are exact."""
_REQUIRED = ("wav.scp", "utt2spk", "utt2dur")
_OPTIONAL = ("segments", "spk2gender", "spk2weight", "text")


class Texts(Sequence[str]):
    """Strings in one array of bytes.

    Args:
        data: uint8 (bytes,), UTF-8 of all strings, one after the other.
        ends: int64 (N + 1,), where each begins and the last one ends.
    """

    def __init__(self, data: np.ndarray, ends: np.ndarray) -> None:
        self._data, self._ends = data, ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def raw(self, row: int) -> bytes:
        """String ``row`` as UTF-8."""
        return self._data[self._ends[row] : self._ends[row + 1]].tobytes()

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        if isinstance(row, slice):
            return [self[k] for k in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return self.raw(row % len(self)).decode()

    def find(self, text: str, order: np.ndarray | None = None) -> int:
        """Row of a string by bisection, -1 where there is none.

        Args:
            text: what to look for.
            order: (N,) rows in the order of their bytes; None if they are in order.
        """
        wanted, low, high = text.encode(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            row = middle if order is None else int(order[middle])
            found = self.raw(row)
            if found == wanted:
                return row
            low, high = (middle + 1, high) if found < wanted else (low, middle)
        return -1


class Index(NamedTuple):
    """Utterances of a split, those of one speaker in adjacent rows.

    Attributes:
        speakers: S names in the order of their bytes.
        first: int64 (S + 1,), row of each speaker's first utterance; the last is U.
        gender: uint8 (S,), ``ord`` of ``f`` or ``m``, 0 where it is not known.
        weight: int64 (S,), how often a speaker is drawn, in `WEIGHT_STEPS`.
        utts: U ids.
        by_id: int64 (U,), rows in the order of the ids' bytes.
        paths: U paths of recordings.
        start: int64 (U,), first sample of the utterance in its recording.
        samples: int64 (U,), its length.
        texts: U transcripts, empty where there is none.
    """

    speakers: Texts
    first: np.ndarray
    gender: np.ndarray
    weight: np.ndarray
    utts: Texts
    by_id: np.ndarray
    paths: Texts
    start: np.ndarray
    samples: np.ndarray
    texts: Texts

    def row(self, utt: str) -> int:
        """Row of an utterance.

        Raises:
            KeyError: there is none of that id.
        """
        row = self.utts.find(utt, self.by_id)
        if row < 0:
            raise KeyError(utt)
        return row

    def speaker(self, name: str) -> int:
        """Number of a speaker.

        Raises:
            KeyError: there is none of that name.
        """
        number = self.speakers.find(name)
        if number < 0:
            raise KeyError(name)
        return number

    def rows(self, speaker: int) -> range:
        """Rows of a speaker's utterances."""
        return range(int(self.first[speaker]), int(self.first[speaker + 1]))


def open_index(folder: Path) -> Index:
    """Map the columns of ``data/<split>/speech``, made from its tables if need be.

    Raises:
        UserError: a table is missing or does not agree with the others.
    """
    columns = folder / f"{FOLDER}{_stamp(folder)}"
    loaded = _columns(folder) if not columns.is_dir() else None
    if loaded is None or _is_written(columns, loaded):
        loaded = {path.stem: _mapped(path) for path in columns.glob("*.npy")}
    fields = {
        name: Texts(loaded[name], loaded[f"{name}_ends"])
        if f"{name}_ends" in loaded
        else loaded[name]
        for name in Index._fields
    }
    return Index(**fields)  # type: ignore[arg-type]


def _stamp(folder: Path) -> str:
    """Digest of the tables' sizes and times: columns of older ones are not used."""
    crc = 0
    for name in (*_REQUIRED, *_OPTIONAL):
        path = folder / name
        if path.is_file():
            state = path.stat()
            text = f"{name} {state.st_size} {state.st_mtime_ns}"
            crc = zlib.crc32(text.encode(), crc)
        elif name in _REQUIRED:
            raise UserError(f"{path}: no such file; run the stage that writes it first")
    return f"{crc:08x}"


def _mapped(path: Path) -> np.ndarray:
    # A map of its own for a few rows would cost more than they do.
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None)


def _is_written(columns: Path, arrays: dict[str, np.ndarray]) -> bool:
    """Write the columns; false in a folder that only others may write to."""
    try:
        _write(columns, arrays)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return columns.is_dir()


def _write(columns: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the folder of columns in one move, and remove those of older tables."""
    temporary = columns.with_name(f".{columns.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        for old in columns.parent.glob(f"{FOLDER}*"):
            if old != columns:
                shutil.rmtree(old, ignore_errors=True)
        os.rename(temporary, columns)
    except OSError:
        if not columns.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _packed(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Columns of strings, see `Texts`."""
    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    data = np.frombuffer(b"".join(encoded), np.uint8)
    return {name: data, f"{name}_ends": ends}


def _optional(path: Path) -> dict[str, str]:
    return read_table(path) if path.is_file() else {}


def _columns(folder: Path) -> dict[str, np.ndarray]:
    segments = _optional(folder / "segments")
    if not segments:
        same_keys(folder, _REQUIRED)
    owner = read_table(folder / "utt2spk")
    # By speaker, then by id, both as bytes: as in Kaldi's sorted tables.
    utts = sorted(owner, key=lambda utt: (owner[utt].encode(), utt.encode()))
    speakers = sorted(set(owner.values()), key=str.encode)
    number = {speaker: k for k, speaker in enumerate(speakers)}
    counts = np.bincount([number[owner[u]] for u in utts], minlength=len(speakers))
    genders = _optional(folder / "spk2gender")
    weights = _optional(folder / "spk2weight")
    texts = _optional(folder / "text")
    encoded = [utt.encode() for utt in utts]
    return {
        **_packed("speakers", speakers),
        "first": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "gender": np.array([_gender(genders.get(s, "")) for s in speakers], np.uint8),
        "weight": np.array(
            [round(WEIGHT_STEPS * float(weights.get(s, 1))) for s in speakers], np.int64
        ),
        **_packed("utts", utts),
        "by_id": np.array(sorted(range(len(utts)), key=encoded.__getitem__), np.int64),
        **_packed("texts", (texts.get(utt, "") for utt in utts)),
        **_places(folder, utts, segments),
    }


def _gender(text: str) -> int:
    return ord(text) if text in ("f", "m") else 0


def _places(
    folder: Path, utts: Sequence[str], segments: dict[str, str]
) -> dict[str, np.ndarray]:
    """Where the utterances lie: path, start and length."""
    wavs, durations = read_table(folder / "wav.scp"), read_table(folder / "utt2dur")
    recordings, starts = list(utts), np.zeros(len(utts), np.int64)
    if segments:
        fields = [segments[utt].split() for utt in utts]
        recordings = [recording for recording, *_ in fields]
        seconds = np.array([float(start) for _, start, _ in fields])
        starts = np.round(seconds * SAMPLE_RATE).astype(np.int64)
    lengths = np.array([float(durations[utt]) for utt in utts])
    return {
        **_packed("paths", (wavs[recording] for recording in recordings)),
        "start": starts,
        "samples": np.round(lengths * SAMPLE_RATE).astype(np.int64),
    }
