"""Speaker vectors of enrolment clips, and the choice of one for a sample."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table, same_keys

FIELDS = ("ids", "speakers", "sources", "vectors")
CLIP_TABLES = ("wav.scp", "utt2spk", "utt2source")
"""Tables of ``dump/enroll/<split>``: audio, speaker and recording of every clip."""
ENCODER_FILE = "speaker_encoder"
"""Beside the vectors of single clips: name and digest of what made them."""


class EncoderNote(NamedTuple):
    """What a folder or a training says of its speaker encoder.

    Attributes:
        name: of the encoder.
        digest: of its weights; None where an older version did not write it.
    """

    name: str
    digest: str | None


def encoder_of(folder: Path) -> EncoderNote | None:
    """The encoder whose vectors lie in ``dump/enroll/<split>``, if any do."""
    note = folder / "vectors" / ENCODER_FILE
    if not note.is_file():
        return None
    # A path may hold blanks.
    name, _, digest = note.read_text(encoding="utf-8").strip().rpartition(" ")
    return EncoderNote(name, digest) if name else EncoderNote(digest, None)


def dim_of(folder: Path) -> int | None:
    """Size of the vectors in ``dump/enroll/<split>``, if stage 3 has made them."""
    path = folder / "vectors.npz"
    return EnrolmentVectors.load(path).dim if path.is_file() else None


def encoder_of_training(config: Mapping[str, Any]) -> EncoderNote | None:
    """The encoder whose vectors a personal VAD was trained on.

    Args:
        config: its configuration. A packed one names the encoder; a training's names
            its data, which may be elsewhere.

    Returns:
        its note; None where it cannot be known.
    """
    if config.get("speaker_encoder"):
        return EncoderNote(config["speaker_encoder"], config.get("speaker_digest"))
    vectors = config.get("train_enroll_vectors")
    return encoder_of(Path(vectors).parent) if vectors else None


def sample_generator(seed: int, epoch: int, uid: str) -> np.random.Generator:
    """Random generator that depends on nothing but (seed, epoch, sample).

    A resumed training, another number of workers and another order of the samples
    therefore draw the same.
    """
    return np.random.default_rng([seed, epoch, zlib.crc32(uid.encode())])


class EnrolmentClips:
    """Which enrolment clips there are, and which of them a sample may have.

    Args:
        ids: clip names, (K,).
        speakers: speaker of each clip, (K,).
        sources: recording from which each clip was cut, (K,).
        name: file or folder for error messages.
    """

    def __init__(
        self,
        ids: Sequence[str],
        speakers: Sequence[str],
        sources: Sequence[str],
        name: str = "clips",
    ) -> None:
        self.name = name
        self.ids = [str(i) for i in ids]
        self.speakers = [str(s) for s in speakers]
        self.sources = [str(s) for s in sources]
        self._row = {clip: row for row, clip in enumerate(self.ids)}
        self._rows_of: dict[str, list[int]] = {}
        for row, speaker in enumerate(self.speakers):
            self._rows_of.setdefault(speaker, []).append(row)

    @classmethod
    def read(cls, folder: Path) -> EnrolmentClips:
        """The clips of ``dump/enroll/<split>``.

        Raises:
            UserError: a table is missing, or the tables have different keys.
        """
        ids = same_keys(folder, CLIP_TABLES)
        speakers, sources = (read_table(folder / t) for t in CLIP_TABLES[1:])
        return EnrolmentClips(
            ids, [speakers[i] for i in ids], [sources[i] for i in ids], str(folder)
        )

    def rows(self, entry: str) -> list[int]:
        """Rows that a line of ``enroll_id`` allows.

        Args:
            entry: a clip's name, or ``*SOURCE SPK``: any clip of SPK that was not cut
                from the recording SOURCE.

        Raises:
            UserError: no such clip or speaker, or SPK has no clip from elsewhere.
        """
        if not entry.startswith("*"):
            if entry not in self._row:
                raise UserError(
                    f"{self.name}: no enrolment clip {entry!r}; run stage 3 again, or "
                    "correct enroll_id"
                )
            return [self._row[entry]]
        source, _, speaker = entry[1:].partition(" ")
        if not speaker:
            raise UserError(
                f"enroll_id: {entry!r} names no speaker; write '*SOURCE SPEAKER'"
            )
        if speaker not in self._rows_of:
            raise UserError(
                f"{self.name}: no enrolment clip of speaker {speaker!r}; run stages 2 "
                "and 3 again"
            )
        rows = [r for r in self._rows_of[speaker] if self.sources[r] != source]
        if not rows:
            raise UserError(
                f"{self.name}: speaker {speaker!r} has no enrolment clip that was not "
                f"cut from {source!r}; add a recording or remove the speaker"
            )
        return rows

    def check(self, entries: Iterable[str]) -> None:
        """Raise `UserError` for the first entry that `rows` refuses."""
        for entry in entries:
            self.rows(entry)


class EnrolmentVectors(EnrolmentClips):
    """The vectors of one split's enrolment clips (``vectors.npz``).

    Args:
        ids, speakers, sources: (K,) each, see `EnrolmentClips`.
        vectors: float32 (K, D), unit norm.
        name: file name for error messages.

    Raises:
        UserError: the four do not have the same length, or a vector is not finite.
    """

    def __init__(
        self,
        ids: Sequence[str],
        speakers: Sequence[str],
        sources: Sequence[str],
        vectors: np.ndarray,
        name: str = "vectors",
    ) -> None:
        counts = {len(ids), len(speakers), len(sources), len(vectors)}
        if len(counts) != 1 or vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise UserError(
                f"{name}: ids, speakers, sources and vectors {vectors.shape} do not "
                "belong together or are not finite; delete it and run stage 3 again"
            )
        super().__init__(ids, speakers, sources, name)
        self.vectors = np.asarray(vectors, dtype=np.float32)

    @classmethod
    def load(cls, path: str | Path) -> EnrolmentVectors:
        """Read ``vectors.npz``.

        Raises:
            UserError: the file is missing, damaged, or lacks a field.
        """
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; run stage 3 (speaker vectors)")
        try:
            with np.load(path, allow_pickle=False) as archive:
                ids, speakers, sources, vectors = (archive[f] for f in FIELDS)
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise UserError(
                f"{path}: not a table of speaker vectors ({error}); delete it and run "
                "stage 3 again"
            ) from None
        return cls(ids, speakers, sources, vectors, name=str(path))

    def save(self, path: str | Path) -> None:
        """Write ``vectors.npz`` atomically."""
        texts = (self.ids, self.speakers, self.sources)
        arrays = [np.asarray(text, dtype=np.str_) for text in texts]
        with atomic_open(path, "wb") as file:
            contents: dict[str, Any] = dict(zip(FIELDS, [*arrays, self.vectors]))
            np.savez(file, **contents)

    @property
    def dim(self) -> int:
        """Size D of a vector."""
        return self.vectors.shape[1]

    def vector(self, entry: str, generator: np.random.Generator) -> np.ndarray:
        """The vector (D,) for a line of ``enroll_id``, drawn if it is open."""
        rows = self.rows(entry)
        return self.vectors[rows[generator.integers(len(rows))]]
