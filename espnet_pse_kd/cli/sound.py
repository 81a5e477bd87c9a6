"""Sound files of any kind, read and written block by block, so in constant memory."""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open

if TYPE_CHECKING:
    from soundfile import SoundFile

SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg")
    + (".opus", ".rf64", ".snd", ".w64", ".wav")
)
"""Files of a folder that count as recordings."""

_CONTAINERS = {"AIF": "AIFF", "AIFC": "AIFF", "OGA": "OGG", "OPUS": "OGG", "SND": "AU"}
_BLOCK_SECONDS = 1
# libsndfile cuts the declared length to what is there, and tells its log only: of WAV,
# AIFF and AU both lengths, of W64 and RF64 the declared one.
_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)$", re.M)
_DECLARED = re.compile(r"^ *(?:data|Data size) *: (\d+)$", re.MULTILINE)
_PACKET = re.compile(r"^ *(Block Align|Samples/Block) *: (\d+)$", re.MULTILINE)
_W64_HEADER, _W64_ROUNDING = 24, 7  # bytes that W64 counts to the data
_NO_LENGTH = 2**63 - 1  # libsndfile's number of frames where a FLAC file has none
_SYSTEM_ERROR = 2  # libsndfile's code; it does not say which


class Format(NamedTuple):
    """What a sound file is like.

    Attributes:
        rate: sampling rate in Hz.
        channels: number of them.
        container: libsndfile's name of the file format, e.g. ``WAV``.
        subtype: libsndfile's name of the sample format, e.g. ``PCM_16``.
    """

    rate: int
    channels: int
    container: str
    subtype: str


class SoundInput:
    """One sound file, opened by `open_sound`.

    Attributes:
        path: where it is.
        format: what it is like.
        frames: samples per channel.
    """

    def __init__(self, path: Path, file: SoundFile) -> None:
        self.path, self._file, self.frames = path, file, file.frames
        self.format = Format(file.samplerate, file.channels, file.format, file.subtype)

    @property
    def seconds(self) -> float:
        return self.frames / self.format.rate

    def blocks(self, start: float = 0.0, end: float = math.inf) -> Iterator[np.ndarray]:
        """Read pieces of at most one second: float32 (n, channels).

        Args:
            start: where to begin, in seconds.
            end: where to stop, in seconds.

        Raises:
            UserError: the file is truncated or damaged, or a sample is not finite.
        """
        rate = self.format.rate
        position, stop = round(start * rate), self.frames
        if end < self.seconds:
            stop = round(end * rate)
        with _readable(self.path):
            self._file.seek(position)
            while position < stop:
                wanted = min(_BLOCK_SECONDS * rate, stop - position)
                block = self._file.read(wanted, dtype="float32", always_2d=True)
                self._check(block, position, wanted)
                position += len(block)
                yield block

    def _check(self, block: np.ndarray, position: int, wanted: int) -> None:
        rate = self.format.rate
        if len(block) < wanted:
            raise UserError(
                f"{self.path}: truncated, {(position + len(block)) / rate:.1f} of "
                f"{self.seconds:.1f} s; fetch or record it again"
            )
        if not np.isfinite(block).all():
            bad = int((~np.isfinite(block).all(1)).argmax())
            raise UserError(
                f"{self.path}: NaN or infinite samples at {(position + bad) / rate:.2f}"
                " s; repair it or leave it out"
            )


@contextmanager
def open_sound(path: str | Path) -> Iterator[SoundInput]:
    """Open a file of any format, rate and number of channels that soundfile reads.

    Raises:
        UserError: it is missing, unreadable, empty, truncated, or no sound file. That
            it is truncated cannot be told of OGG, which may end after any page, and
            of NIST, and is told of MP3 and FLAC when the end is read.
    """
    import soundfile

    path = Path(path)
    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct the path") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); correct the path or its rights"
        ) from None
    if path.stat().st_size == 0:
        raise UserError(f"{path}: empty file; record or fetch it again")
    with _readable(path):
        file = soundfile.SoundFile(_encoded(path))
    with file:
        if file.frames == 0:
            raise UserError(f"{path}: no samples; record or fetch it again")
        if file.frames == _NO_LENGTH:
            raise UserError(
                f"{path}: its header lacks the length, as after a broken recording; "
                f"write it anew: ffmpeg -i {shlex.quote(str(path))} OUT.wav"
            )
        declared = _declared_frames(file)
        if file.frames < declared:
            raise UserError(
                f"{path}: truncated, {file.frames / file.samplerate:.1f} of "
                f"{declared / file.samplerate:.1f} s; fetch or record it again"
            )
        yield SoundInput(path, file)


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


def _encoded(path: str | Path) -> str | bytes:
    """A path for soundfile, which fails on a name that is no UTF-8 unless as bytes."""
    return str(path) if os.name == "nt" else os.fsencode(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = error.error_string.rstrip(".")
        raise UserError(
            f"{path}: not a readable sound file ({reason}); convert it to WAV or FLAC"
        ) from None


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


@contextmanager
def write_sound(
    path: Path, form: Format, keep: bool = False
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a sound file atomically: yields a function that appends (n, channels).

    Args:
        path: file to write.
        form: what it is like.
        keep: if something goes wrong, keep what was written until then, and tell so;
            for what cannot be had again.

    Raises:
        UserError: the disk is full, the folder not writable, or the format cannot be
            written.
    """
    import soundfile

    if not soundfile.check_format(form.container, form.subtype):
        raise UserError(
            f"{path}: {form.container} with {form.subtype} cannot be written; name an "
            "output that ends in .wav or .flac"
        )
    with ExitStack() as files:
        with _explained(path, form):
            temporary = files.enter_context(atomic_open(path, "wb"))
            # soundfile gets the temporary's name, not its handle: errors of the disk
            # would be lost inside its callbacks.
            file = files.enter_context(
                soundfile.SoundFile(
                    _encoded(temporary.name),
                    "w",
                    form.rate,
                    form.channels,
                    form.subtype,
                    format=form.container,
                )
            )

        def append(block: np.ndarray) -> None:
            with _explained(path, form):
                file.write(block)

        # What goes wrong in the caller's own code is none of the file's errors.
        try:
            yield append
        except BaseException:
            if keep and file.frames:
                seconds = file.frames / form.rate
                with _explained(path, form):
                    files.close()
                print(
                    f"warning: {path}: cut short; {seconds:.1f} s are kept",
                    file=sys.stderr,
                )
            raise
        with _explained(path, form):
            files.close()


@contextmanager
def _explained(path: Path, form: Format) -> Iterator[None]:
    """Errors of the disk and of libsndfile as `UserError`."""
    import soundfile

    try:
        yield
    except (AssertionError, soundfile.LibsndfileError, OSError) as error:
        raise UserError(
            f"{path}: cannot be written ({_reason(error, form)}); free disk space, or "
            "give another output"
        ) from None


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


def output_format(form: Format, source: Path, output: Path) -> Format:
    """The format in which the recording ``source`` goes to ``output``: its own.

    If ``output`` has the suffix of another container, plain samples keep their format
    where that container has it; otherwise, and of a compressed recording, it is the
    container's default.

    Raises:
        UserError: the suffix names no container that can be written.
    """
    import soundfile

    if output.suffix.lower() == source.suffix.lower():
        return form
    name = output.suffix[1:].upper()
    container = _CONTAINERS.get(name, name)
    if container not in soundfile.available_formats():
        raise UserError(
            f"{output}: {output.suffix or 'no suffix'} is no sound format; name an "
            "output that ends in .wav or .flac"
        )
    subtype = form.subtype
    # A codec of one container may be allowed in another and fail there all the same, as
    # MP3's in WAV does.
    plain = subtype.startswith("PCM_") or subtype in ("FLOAT", "DOUBLE")
    if not (plain and soundfile.check_format(container, subtype)):
        subtype = soundfile.default_subtype(container)
    return form._replace(container=container, subtype=subtype)


class Identity(NamedTuple):
    """What all paths of one file on disk have in common.

    Attributes:
        device: where it lies.
        number: of the file on that device.
    """

    device: int
    number: int


def identities(paths: Iterable[Path]) -> frozenset[Identity]:
    """Those of the files that exist."""
    return frozenset(found for path in paths if (found := _identity(path)))


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:  # missing, or nothing that can be looked at
        return None
    return Identity(found.st_dev, found.st_ino)


def same_file(a: Path, b: Path) -> bool:
    """Whether two paths are one file on disk."""
    return bool(identities([a]) & identities([b]))


def refuse_inputs(
    output: Path, inputs: frozenset[Identity], option: str = "--output"
) -> None:
    """Refuse to replace what the command reads: ``--force`` is for results.

    Args:
        output: file to write.
        inputs: files that the command reads.
        option: that names the output, for the error.

    Raises:
        UserError: the output is one of the inputs, however its path is spelled.
    """
    if identities([output]) & inputs:
        raise UserError(
            f"{output}: is an input as well, and would be lost; give another {option}"
        )
