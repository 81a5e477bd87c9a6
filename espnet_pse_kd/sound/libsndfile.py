"""What libsndfile reads and writes: WAV, FLAC, MP3, OGG, AIFF and their like."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound.formats import FFMPEG_REMEDY, Format

if TYPE_CHECKING:
    from soundfile import SoundFile

# libsndfile cuts the declared length to what is there, and says so in its log only: of
# WAV, AIFF and AU both lengths, of W64 and RF64 the declared one.
_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)$", re.M)
_DECLARED = re.compile(r"^ *(?:data|Data size) *: (\d+)$", re.MULTILINE)
_PACKET = re.compile(r"^ *(Block Align|Samples/Block) *: (\d+)$", re.MULTILINE)
_W64_HEADER, _W64_ROUNDING = 24, 7  # bytes that W64 counts to the data
_NO_LENGTH = 2**62  # libsndfile's number of frames, or more, where a header has none
_SYSTEM_ERROR = 2  # libsndfile's code; it does not say which
_UNKNOWN_FORMAT, _UNSUPPORTED_ENCODING = 1, 4  # its codes for what others may read
# The first frame of an MP3 holds one of these if the encoder knew the length.
_MP3_LENGTH = (b"Xing", b"Info", b"VBRI")
_LARGEST_FRAME = 4096
_TAGS = (
    ("title", "artist", "album", "date", "genre", "tracknumber", "comment")
    + ("copyright", "license")  # not the software: what wrote the result is another
)


class UnknownFormat(UserError):
    """libsndfile does not know what it is; another reader may."""


class NoLength(UserError):
    """The header lacks the length, and libsndfile's estimate cannot be trusted."""


class LibsndfileReader:
    """Reads one file from its beginning, as often as asked.

    Args:
        path: of the file.

    Attributes:
        format: what it is like.
        frames: samples per channel that its header promises.
        guessed: whether that is a guess, after which libsndfile stops reading.
        slack: how many of them may be missing without it being truncated.
        tags: title, artist and the like.

    Raises:
        UnknownFormat: it is not of a format that libsndfile knows.
        NoLength: libsndfile does not know, or only guesses, how long it is.
        UserError: it is empty, damaged or truncated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _open(path) as file:
            self.format = _format(file)
            self.tags = {k: v for k, v in file.copy_metadata().items() if k in _TAGS}
            self.frames: int = file.frames
            declared = _declared_frames(file)
        if self.frames == 0:
            raise UserError(f"{path}: no samples; record or fetch it again")
        self.guessed = self.format.container == "MP3" and not _mp3_has_length(path)
        self.slack = self.frames if self.guessed else 0
        if self.frames >= _NO_LENGTH:
            raise NoLength(_no_length(path))
        if self.frames < declared:
            rate = self.format.rate
            raise UserError(
                f"{path}: truncated, {self.frames / rate:.1f} of {declared / rate:.1f} "
                "s; fetch or record it again"
            )

    def blocks(self, length: int) -> Iterator[np.ndarray]:
        """Read float32 (n, channels), n up to ``length``, until the sound ends.

        Raises:
            NoLength: the guess was too low, so that more follows than can be read.
            UserError: it is damaged.
        """
        if self.guessed:
            yield from self._guessed_blocks(length)
            return
        with _open(self._path) as file:
            yield from _read(file, length, self._path)

    def _guessed_blocks(self, length: int) -> Iterator[np.ndarray]:
        """The same from a file of Python's, which tells how far it has been read."""
        with open(self._path, "rb") as bytes_, _open(self._path, bytes_) as file:
            yield from _read(file, length, self._path)
            if os.fstat(bytes_.fileno()).st_size - bytes_.tell() > _LARGEST_FRAME:
                raise NoLength(_no_length(self._path))


def read_pipe(pipe: BinaryIO, seconds: float) -> tuple[Format, Iterator[np.ndarray]]:
    """Read sound as it comes through a pipe: WAV, AU or another that needs no seeking.

    Args:
        pipe: of which nothing has been read.
        seconds: length of a block, at most.

    Raises:
        UserError: it is none of these.
    """
    path = Path("-")
    file = _open(path, pipe.fileno())

    def blocks() -> Iterator[np.ndarray]:
        with file:
            yield from _read(file, max(1, round(seconds * file.samplerate)), path)

    return _format(file), blocks()


def _format(file: SoundFile) -> Format:
    return Format(file.samplerate, file.channels, file.format, file.subtype)


def _read(file: SoundFile, length: int, path: Path) -> Iterator[np.ndarray]:
    with _readable(path):
        while len(block := file.read(length, dtype="float32", always_2d=True)):
            yield block


def _open(path: Path, source: int | BinaryIO | None = None) -> SoundFile:
    """Open a file, or a pipe, to be read without seeking.

    soundfile seeks to where it is after every read. mpg123 then forgets what the next
    frames of an MP3 refer to, which is heard as a click; and GSM 6.10 cannot seek.
    """
    import soundfile

    class Sequential(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    with _readable(path):
        return Sequential(_encoded(path) if source is None else source, closefd=False)


def _no_length(path: Path) -> str:
    return (
        f"{path}: its header lacks the length, as after a broken recording; "
        f"{FFMPEG_REMEDY}, which finds it"
    )


def _mp3_has_length(path: Path) -> bool:
    """Whether the first frame of an MP3 tells how many follow."""
    with open(path, "rb") as file:
        head = file.read(10)
        skipped = 0
        if head.startswith(b"ID3"):  # its size in four bytes of seven bits
            size = [byte & 127 for byte in head[6:10]]
            skipped = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
        file.seek(skipped)
        first = file.read(_LARGEST_FRAME)
    return any(mark in first for mark in _MP3_LENGTH)


def _declared_frames(file: SoundFile) -> int:
    """Samples per channel that the header promises; 0 where it tells nothing."""
    log = file.extra_info
    if cut := _CUT.search(log):
        declared, there = map(int, cut.groups())
        return 0 if _streamed(declared) else -(-file.frames * declared // there)
    found = _DECLARED.search(log)
    packet = {name: int(value) for name, value in _PACKET.findall(log)}
    if file.format not in ("W64", "RF64") or not (found and packet.get("Block Align")):
        return 0
    size = int(found[1])
    if _streamed(size):
        return 0
    if file.format == "W64":
        size -= _W64_HEADER + _W64_ROUNDING
    return size // packet["Block Align"] * packet.get("Samples/Block", 1)


def _streamed(size: int) -> bool:
    """Whether a declared size says that it was not known when the header was written.

    Programs that write into a pipe declare 0 or about the largest size: SoX
    0x7F000008 in AIFF and 0x7FFFF000 in WAV, arecord 0x80000000, FFmpeg 0xFFFFFFFF, all
    of them less what their headers or whole blocks take.
    """
    return (
        size == 0
        or 0x7F000000 <= size <= 0x80000000
        or 0xFFFF0000 <= size <= 0xFFFFFFFF
        or size >= 1 << 62
    )


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        unknown = error.code in (_UNKNOWN_FORMAT, _UNSUPPORTED_ENCODING)
        raise (UnknownFormat if unknown else UserError)(
            f"{path}: not a readable sound file ({reason}); convert it to WAV or FLAC"
        ) from None


class LibsndfileWriter:
    """Writes one file.

    Args:
        temporary: where.
        form: what it is like.
        tags: title, artist and the like, as far as the format has them.
        path: where it will be moved, for errors.

    Raises:
        UserError: here and below: the format cannot be written, or the disk is full.
    """

    def __init__(
        self, temporary: Path, form: Format, tags: Mapping[str, str], path: Path
    ) -> None:
        import soundfile

        self._path, self._form = path, form
        with self._explained():
            # soundfile gets the temporary's name, not its handle: errors of the disk
            # would be lost inside its callbacks.
            self._file = soundfile.SoundFile(
                _encoded(temporary),
                "w",
                form.rate,
                form.channels,
                form.subtype,
                format=form.container,
            )
        for name, value in tags.items():
            with suppress(soundfile.LibsndfileError):  # not every format has every tag
                setattr(self._file, name, value)

    @property
    def frames(self) -> int:
        """Samples per channel so far."""
        return self._file.frames

    def write(self, block: np.ndarray) -> None:
        """Append (n, channels)."""
        with self._explained():
            self._file.write(block)

    def finish(self) -> None:
        """Complete the file."""
        with self._explained():
            self._file.close()

    def abort(self) -> None:
        """Close the file, whatever is in it."""
        import soundfile

        with suppress(AssertionError, soundfile.LibsndfileError, OSError):
            self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the disk and of libsndfile as `UserError`."""
        import soundfile

        try:
            yield
        except (AssertionError, soundfile.LibsndfileError, OSError) as error:
            raise UserError(
                f"{self._path}: cannot be written ({_reason(error, self._form)}); free "
                "disk space, or give another output"
            ) from None


def _encoded(path: Path) -> str | bytes:
    """A path for soundfile, which fails on a name that is no UTF-8 unless as bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _reason(error: Exception, form: Format) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # An AssertionError is soundfile's only sign that fewer samples were written.
    full = isinstance(error, AssertionError)
    if full or getattr(error, "code", 0) == _SYSTEM_ERROR:
        return "no space left, or the disk failed"
    return (
        f"{form.container} takes no {form.subtype} of {form.channels} channels at "
        f"{form.rate} Hz"
    )
