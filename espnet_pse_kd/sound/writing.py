"""Sound files written block by block, complete or not at all."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import ResultExists, atomic_open
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.formats import (
    DEFAULT_CODECS,
    FFMPEG_REMEDY,
    MUXERS,
    Format,
    container_of,
)
from espnet_pse_kd.sound.libsndfile import LibsndfileWriter
from espnet_pse_kd.sound.reading import PIPE, SoundInput

Append = Callable[[np.ndarray], None]
"""Appends (n, channels) to a sound file."""

_LARGEST_WAV = 0xFFFFFFFF  # declared where the length is not known, or larger
_FLOAT, _PCM = 3, 1  # WAV's codes


class Writer(Protocol):
    """What writes one format.

    Attributes:
        frames: samples per channel so far.
    """

    @property
    def frames(self) -> int: ...

    def write(self, block: np.ndarray) -> None:
        """Append (n, channels)."""

    def finish(self) -> None:
        """Complete the file."""

    def abort(self) -> None:
        """Close the file, whatever is in it."""


@contextmanager
def write_sound(
    path: Path,
    form: Format,
    keep: bool = False,
    like: SoundInput | None = None,
    replace: bool = True,
) -> Iterator[Append]:
    """Write a sound file atomically.

    Args:
        path: file to write.
        form: what it is like.
        keep: if something goes wrong, keep what was written until then, and say so;
            for what cannot be had again.
        like: the recording whose tags and, where ffmpeg writes, whose picture it gets.
        replace: replace a file that is there when the writing is done.

    Raises:
        UserError: the disk is full, the folder not writable, or the format cannot be
            written, or another run has written the file meanwhile.
    """
    check_writable(form, path)
    with ExitStack() as files:
        temporary = _temporary(path, files, replace)
        writer = _writer(temporary, form, like, path)
        files.callback(writer.abort)
        # What goes wrong in the caller's own code is none of the file's errors.
        try:
            yield writer.write
        except BaseException:
            if keep and writer.frames:
                seconds = writer.frames / form.rate
                _complete(writer, files, path)
                print(
                    f"warning: {path}: cut short; {seconds:.1f} s are kept",
                    file=sys.stderr,
                )
            raise
        _complete(writer, files, path)


def _temporary(path: Path, files: ExitStack, replace: bool) -> Path:
    with _on_disk(path):
        return Path(files.enter_context(atomic_open(path, "wb", replace)).name)


def _complete(writer: Writer, files: ExitStack, path: Path) -> None:
    with _on_disk(path):
        writer.finish()
        files.close()


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Errors of the disk as `UserError`."""
    try:
        yield
    except ResultExists:
        raise UserError(f"{path}: another run has just written it; kept") from None
    except FileExistsError:
        raise UserError(
            f"{path}: cannot be written, {path.parent} is a file; give another folder"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free disk space, or give "
            "another output"
        ) from None


def _writer(
    temporary: Path, form: Format, like: SoundInput | None, path: Path
) -> Writer:
    if not form.by_ffmpeg:
        return LibsndfileWriter(temporary, form, like.tags if like else {}, path)
    source = like.path if like and like.path != PIPE else None
    return ffmpeg.FfmpegWriter(temporary, form, source, path)


def check_writable(form: Format, path: Path) -> None:
    """See whether there is what writes a format, before there is much to write.

    Raises:
        UserError: ffmpeg is needed and not there, or the format cannot be written.
    """
    import soundfile

    if not form.by_ffmpeg:
        if not soundfile.check_format(form.container, form.subtype):
            raise UserError(
                f"{path}: {form.container} with {form.subtype} cannot be written; name "
                "an output that ends in .wav or .flac"
            )
        return
    if not ffmpeg.available():
        raise UserError(
            f"{path}: {path.suffix} needs ffmpeg, which is not on the PATH; "
            f"{FFMPEG_REMEDY}, or name an output that ends in .wav or .flac"
        )
    if form.subtype and form.subtype not in ffmpeg.encoders():
        raise UserError(
            f"{path}: this ffmpeg writes no {form.subtype}; name an output that ends "
            "in .wav, .flac or .m4a"
        )


def result_suffix(suffix: str) -> str:
    """The suffix of what becomes of a recording: its own, or ``.wav``.

    Some formats can be read only.

    Args:
        suffix: of the recording.
    """
    import soundfile

    lower = suffix.lower()
    if lower in MUXERS:
        codec = DEFAULT_CODECS.get(MUXERS[lower], "")
        # Without ffmpeg it cannot be read either, which opening it says.
        known = not codec or not ffmpeg.available() or codec in ffmpeg.encoders()
        return suffix if known else ".wav"
    return suffix if container_of(suffix) in soundfile.available_formats() else ".wav"


@contextmanager
def write_pipe(form: Format, pipe: BinaryIO | None = None) -> Iterator[Append]:
    """Write WAV to standard output, whose length nobody knows at the beginning.

    Args:
        form: rate and channels; of the sample format whether it is float or how wide.
        pipe: where to, default: standard output.
    """
    pipe = pipe or sys.stdout.buffer
    kind, bits = _samples(form.subtype)
    width = bits // 8 * form.channels
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", _LARGEST_WAV, b"WAVE", b"fmt ", 16, kind, form.channels),
        *(form.rate, form.rate * width, width, bits, b"data", _LARGEST_WAV),
    )
    pipe.write(header)

    def append(block: np.ndarray) -> None:
        pipe.write(_encoded(block, kind, bits))
        pipe.flush()

    yield append


def _samples(subtype: str) -> tuple[int, int]:
    """WAV's code and width of samples that lose nothing of the source's."""
    if subtype in ("FLOAT", "DOUBLE"):
        return _FLOAT, 32
    return _PCM, 32 if subtype in ("PCM_24", "PCM_32") else 16


def _encoded(block: np.ndarray, kind: int, bits: int) -> bytes:
    if kind == _FLOAT:
        return block.astype("<f4").tobytes()
    full = 2 ** (bits - 1)
    clipped = np.clip(np.rint(block.astype(np.float64) * full), -full, full - 1)
    return clipped.astype(f"<i{bits // 8}").tobytes()
