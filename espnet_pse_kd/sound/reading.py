"""Sound files of any kind, read block by block."""

from __future__ import annotations

import math
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from espnet_pse_kd.audio import check_rate
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import refuse_special
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.formats import (
    FFMPEG_REMEDY,
    FFMPEG_SUFFIXES,
    Format,
)
from espnet_pse_kd.sound.libsndfile import (
    LibsndfileReader,
    NoLength,
    UnknownFormat,
    read_pipe,
)

PIPE = Path("-")
"""Stands for standard input or output."""

_BLOCK_SECONDS = 1
_PIPE_SECONDS = 0.1  # what comes in live is not held back for longer


class Reader(Protocol):
    """What reads one format.

    Attributes:
        format: what the file is like.
        frames: samples per channel that it promises.
        slack: how many of them may be missing without it being truncated.
        tags: title, artist and the like, by soundfile's names.
    """

    format: Format
    frames: int
    slack: int
    tags: dict[str, str]

    def blocks(self, length: int) -> Iterator[np.ndarray]:
        """Float32 (n, channels), n up to ``length``, from the beginning to the end."""


class SoundInput:
    """One sound file, opened by `open_sound`.

    Attributes:
        path: where it is.
        format: what it is like.
        frames: samples per channel; of some compressed files as their header tells,
            which may be a little more or less than there is.
        tags: title, artist and the like, by soundfile's names.
        tracks: number of sounds in it, of which the first is read.
    """

    def __init__(self, path: Path, reader: Reader) -> None:
        self.path, self._reader = path, reader
        self.format, self.frames, self.tags = reader.format, reader.frames, reader.tags
        probe = getattr(reader, "probe", None)
        self.tracks = probe.tracks if probe else 1
        check_rate(self.format.rate, f"{path}: its header")

    @property
    def seconds(self) -> float:
        return self.frames / self.format.rate

    def blocks(self, start: float = 0.0, end: float = math.inf) -> Iterator[np.ndarray]:
        """Read pieces of at most one second: float32 (n, channels).

        Reading begins anew with every call, and never seeks: most compressed formats
        decode exactly only from their beginning.

        Args:
            start: where to begin, in seconds.
            end: where to stop, in seconds.

        Raises:
            UserError: the file is truncated or damaged, or a sample is not finite.
        """
        rate, position = self.format.rate, 0
        first, last = round(start * rate), self._last(end)
        for block in self._reader.blocks(_BLOCK_SECONDS * rate):
            stop = int(min(last - position, len(block)))
            piece = block[max(first - position, 0) : stop]
            check_finite(piece, max(position, first), rate, self.path)
            position += len(block)
            if len(piece):
                yield piece
            if position >= last:
                return
        self._check_length(position, last)

    def _last(self, end: float) -> float:
        """Sample at which to stop."""
        rate = self.format.rate
        return round(end * rate) if end < self.seconds else math.inf

    def _check_length(self, position: int, last: float) -> None:
        """Refuse a file that ended at ``position``, before ``last`` or its promise."""
        promised = self.frames - self._reader.slack if math.isinf(last) else last
        if position < promised:
            rate = self.format.rate
            raise UserError(
                f"{self.path}: truncated, {position / rate:.1f} of "
                f"{self.seconds:.1f} s; fetch or record it again"
            )


def check_finite(block: np.ndarray, position: int, rate: int, path: Path) -> None:
    """Refuse NaN and infinite samples.

    Args:
        block: (n, channels).
        position: of its first sample in the recording.
        rate: in Hz.
        path: of the recording.

    Raises:
        UserError: there is one; its time is named.
    """
    if not np.isfinite(block).all():
        bad = int((~np.isfinite(block).all(1)).argmax())
        raise UserError(
            f"{path}: NaN or infinite samples at {(position + bad) / rate:.2f} s; "
            "repair it or leave it out"
        )


@contextmanager
def open_sound(path: str | Path) -> Iterator[SoundInput]:
    """Open a file of any format, rate and number of channels.

    soundfile reads it if it can, ffmpeg otherwise, where it is installed. ``-`` is
    standard input, which is stored in a temporary file first.

    Raises:
        UserError: it is missing, unreadable, empty, truncated, or no sound file. That
            it is truncated cannot be told of OGG, which may end after any page, and
            of NIST, and is told of compressed files when the end is read.
    """
    path = Path(path)
    if path == PIPE:
        with _spooled(sys.stdin.buffer) as stored:
            yield SoundInput(path, _reader(stored))
        return
    check_file(path)
    yield SoundInput(path, _reader(path))


def check_file(path: Path) -> None:
    """See that there is something to read; a pipe is not opened, it may never answer.

    Raises:
        UserError: it is missing, unreadable, empty, or no regular file.
    """
    if not path.name:
        raise UserError(f"{str(path)!r}: no name of a file; name a recording")
    try:
        refuse_special(path, "give - to read standard input")
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            with open(path, "rb"):
                pass
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct the path") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); correct the path or its rights"
        ) from None
    if stat.S_ISDIR(found.st_mode):
        raise UserError(
            f"{path}: cannot be read (a folder); name recordings, or correct its rights"
        )
    if found.st_size == 0:
        raise UserError(f"{path}: empty file; record or fetch it again")


def _reader(path: Path) -> Reader:
    """What reads the file: libsndfile if it knows the format, otherwise ffmpeg."""
    try:
        reader = LibsndfileReader(path)
    except (UnknownFormat, NoLength) as error:
        if ffmpeg.available():
            return ffmpeg.FfmpegReader(path)
        raise _without_ffmpeg(path, error) from None
    # Where libsndfile only guesses the length, it stops there.
    if reader.guessed and ffmpeg.available():
        return ffmpeg.FfmpegReader(path)
    return reader


def _without_ffmpeg(path: Path, error: UserError) -> UserError:
    """The error, which names ffmpeg where that would read the file."""
    if path.suffix.lower() not in FFMPEG_SUFFIXES:
        return error
    return UserError(
        f"{path}: {path.suffix} needs ffmpeg, which is not on the PATH; {FFMPEG_REMEDY}"
    )


def length_of(path: Path) -> float:
    """Seconds of a recording as its header tells, for a forecast; 0 if it does not."""
    if path == PIPE:
        return 0.0
    try:
        check_file(path)
        try:
            reader = LibsndfileReader(path)
        except (UnknownFormat, NoLength):
            return ffmpeg.probe(path).seconds if ffmpeg.available() else 0.0
        return reader.frames / reader.format.rate
    except (UserError, OSError):  # which is said when it is opened
        return 0.0


@contextmanager
def _spooled(pipe: BinaryIO) -> Iterator[Path]:
    """Store what comes through a pipe until its end in a temporary file."""
    with tempfile.TemporaryDirectory(prefix="pse-kd-") as folder:
        stored = Path(folder, "standard input")
        with open(stored, "wb") as file:
            shutil.copyfileobj(pipe, file)
        check_file(stored)
        yield stored


class PipedInput:
    """Sound that is read once, while it comes in through standard input.

    Attributes:
        format: what it is like.
    """

    path = PIPE

    def __init__(self) -> None:
        # The length of a block is known only when the rate is.
        self.format, self._blocks = read_pipe(sys.stdin.buffer, _PIPE_SECONDS)
        check_rate(self.format.rate, f"{self.path}: its header")

    def blocks(self) -> Iterator[np.ndarray]:
        """Pieces of at most 0.1 s: float32 (n, channels).

        Raises:
            UserError: it is damaged, or a sample is not finite.
        """
        position = 0
        for block in self._blocks:
            check_finite(block, position, self.format.rate, self.path)
            position += len(block)
            yield block


def read_mono(
    path: str | Path, rate: int, segment: tuple[float, float] = (0.0, math.inf)
) -> np.ndarray:
    """Read a file, or a part of it, mixed down to one channel and resampled.

    Args:
        path: any file that `open_sound` opens.
        rate: rate of the result in Hz.
        segment: begin and end in seconds.

    Returns:
        float32 (N,), full scale = 1.
    """
    import soxr

    with open_sound(path) as sound:
        blocks = (block.mean(1) for block in sound.blocks(*segment))
        # A part may be shorter than a sample, so that there is no block.
        mono = np.concatenate([np.zeros(0, np.float32), *blocks])
        return soxr.resample(mono, sound.format.rate, rate)
