"""What a sound file is like, which names count as one, and what a result becomes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.errors import UserError

LIBSNDFILE_SUFFIXES = frozenset(
    (".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg")
    + (".opus", ".rf64", ".snd", ".w64", ".wav")
)
"""Files that libsndfile reads and writes."""

MUXERS = {
    ".3g2": "3g2",
    ".3gp": "3gp",
    ".aac": "adts",
    ".ac3": "ac3",
    ".amr": "amr",
    ".asf": "asf",
    ".avi": "avi",
    ".flv": "flv",
    ".m2ts": "mpegts",
    ".m4a": "ipod",
    ".m4b": "ipod",
    ".m4v": "mp4",
    ".mka": "matroska",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp2": "mp2",
    ".mp4": "mp4",
    ".mpeg": "mpeg",
    ".mpg": "mpeg",
    ".mts": "mpegts",
    ".ts": "mpegts",
    ".webm": "webm",
    ".wma": "asf",
    ".wmv": "asf",
    ".wv": "wv",
}
"""Files that ffmpeg writes, with its name of the container."""

VIDEO_MUXERS = frozenset(
    ("3g2", "3gp", "asf", "avi", "flv", "matroska", "mov", "mp4", "mpeg", "mpegts")
    + ("webm",)
)
"""Containers into which the picture of a video is copied."""

_READ_ONLY = (".ape", ".awb", ".dts", ".gsm", ".m4r", ".mpc", ".ogv", ".ra", ".rm")
FFMPEG_SUFFIXES = frozenset(MUXERS) | frozenset((*_READ_ONLY, ".spx", ".tta", ".vob"))
"""Files that need ffmpeg."""

SUFFIXES = LIBSNDFILE_SUFFIXES | FFMPEG_SUFFIXES
"""Files of a folder that count as recordings."""

FFMPEG_REMEDY = (
    "install ffmpeg (apt install ffmpeg, brew install ffmpeg or winget install ffmpeg)"
)
"""What to do where ffmpeg is needed and not on the PATH."""

_CONTAINERS = {"AIF": "AIFF", "AIFC": "AIFF", "OGA": "OGG", "OPUS": "OGG", "SND": "AU"}
_LOSSY = frozenset(("aac", "ac3", "mp2", "mp3", "opus", "vorbis", "wmav1", "wmav2"))
_LEAST_BIT_RATE = 64_000  # of a channel: what was compressed once is so again
# Codecs that ffmpeg writes by another name.
_ENCODERS = {
    "amr_nb": "libopencore_amrnb",
    "mp3": "libmp3lame",
    "opus": "libopus",
    "vorbis": "libvorbis",
    "wmav1": "wmav2",
}
DEFAULT_CODECS = {"3g2": "aac", "3gp": "aac", "amr": "libopencore_amrnb"}
"""Codecs of containers for which ffmpeg itself would choose others."""


class Format(NamedTuple):
    """What a sound file is like.

    Attributes:
        rate: sampling rate in Hz.
        channels: number of them.
        container: libsndfile's name of the file format, e.g. ``WAV``; of files that
            ffmpeg writes, its own name, in lower case, e.g. ``ipod``.
        subtype: libsndfile's name of the sample format, e.g. ``PCM_16``, or ffmpeg's
            of the codec; empty for the container's default.
        bit_rate: of a compressed file that ffmpeg reads, in bit/s; 0 if not known.
    """

    rate: int
    channels: int
    container: str
    subtype: str
    bit_rate: int = 0

    @property
    def by_ffmpeg(self) -> bool:
        """Whether it is ffmpeg that reads and writes it."""
        return self.container.islower()


def output_format(form: Format, source: Path, output: Path) -> Format:
    """The format in which the recording ``source`` goes to ``output``: its own.

    If ``output`` has the suffix of another container, plain samples keep their format
    where that container has it; otherwise, and of a compressed recording, it is the
    container's default.

    Args:
        form: of the source.
        source: its path.
        output: path of the result.

    Raises:
        UserError: the suffix names no container that can be written.
    """
    suffix = output.suffix.lower()
    if suffix in MUXERS:
        return _ffmpeg_format(form, MUXERS[suffix])
    if suffix == source.suffix.lower() and not form.by_ffmpeg:
        return form
    return _libsndfile_format(form, output)


def _ffmpeg_format(form: Format, muxer: str) -> Format:
    """The source's codec if it came through ffmpeg in such a container, or default."""
    codec = DEFAULT_CODECS.get(muxer, "")
    bit_rate = 0
    if form.by_ffmpeg and _same_family(form.container, muxer):
        codec = _ENCODERS.get(form.subtype, form.subtype)
        if form.subtype in _LOSSY and form.bit_rate:
            bit_rate = max(form.bit_rate, _LEAST_BIT_RATE * form.channels)
    return form._replace(container=muxer, subtype=codec, bit_rate=bit_rate)


def _same_family(container: str, muxer: str) -> bool:
    """Whether ffmpeg's demuxer ``container`` reads what ``muxer`` writes.

    One demuxer has the names of all its containers, such as ``mov,mp4,m4a,3gp``; and
    some are called otherwise than their muxers.
    """
    names = {"ipod": "m4a", "adts": "aac", "mp2": "mp3"}
    return names.get(muxer, muxer) in container.split(",")


def container_of(suffix: str) -> str:
    """libsndfile's name of the container with a suffix, which it may not know."""
    name = suffix[1:].upper()
    return _CONTAINERS.get(name, name)


def _libsndfile_format(form: Format, output: Path) -> Format:
    import soundfile

    container = container_of(output.suffix)
    if container not in soundfile.available_formats():
        raise UserError(
            f"{output}: {output.suffix or 'no suffix'} is no sound format that can be "
            "written; name an output that ends in .wav or .flac"
        )
    if output.suffix.lower() == ".opus":
        return form._replace(container=container, subtype="OPUS", bit_rate=0)
    subtype = form.subtype
    # A codec of one container may be allowed in another and fail there all the same, as
    # MP3's in WAV does.
    plain = subtype.startswith("PCM_") or subtype in ("FLOAT", "DOUBLE")
    if not (plain and soundfile.check_format(container, subtype)):
        subtype = soundfile.default_subtype(container)
    return form._replace(container=container, subtype=subtype, bit_rate=0)
