"""What ffmpeg reads and writes, where it is on the PATH: M4A, MP4, WebM, AMR, videos.

It runs as a process of its own, connected by a pipe. It may open files only, of the
formats in `DEMUXERS`: no network, and no playlists that name other files.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound.formats import VIDEO_MUXERS, Format

DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,dv,eac3,flac,flv,gsm,"
    "gxf,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,oma,ogg,"
    "rm,tak,truehd,tta,voc,w64,wav,webm,wsvqa,wv"
)
"""Containers of sound and video; none that names other files, as ``hls`` does."""

_PROBE_SECONDS = 20
_TRUSTED = frozenset(("asf", "matroska", "mov"))  # they store durations
_SLACK_SECONDS, _SLACK_SHARE = 1.0, 0.02
_PATIENCE = 10  # seconds for a process to end after its pipe was closed
# Held against ffmpeg's clock: the sound begins where the picture does, and gaps are
# silent. Raw samples have no times that would tell.
_IN_STEP = "aresample=async=1:first_pts=0"
_TAGS = {name: name for name in ("title", "artist", "album", "date", "genre")} | {
    "track": "tracknumber",
    "comment": "comment",
    "copyright": "copyright",
}


class Probe(NamedTuple):
    """What ffprobe says of a file.

    Attributes:
        format: of its first sound.
        seconds: length of that; 0 if it has to be counted.
        tags: title, artist and the like, by soundfile's names.
        tracks: number of sounds.
        pictures: numbers of the streams of moving pictures.
        covers: numbers of the streams of still ones.
        subtitles: numbers of the streams of these.
    """

    format: Format
    seconds: float
    tags: dict[str, str]
    tracks: int
    pictures: tuple[int, ...]
    covers: tuple[int, ...]
    subtitles: tuple[int, ...]


def available() -> bool:
    """Whether ffmpeg and ffprobe are on the PATH."""
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def _source(path: Path) -> list[str]:
    """Words that open a file and nothing else, whatever its name looks like."""
    limits = ["-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS]
    return [*limits, "-i", f"file:{path}"]


def probe(path: Path) -> Probe:
    """Ask ffprobe what a file is.

    Raises:
        UserError: it is no sound or video, or has no sound.
    """
    words = ["ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams"]
    try:
        found = subprocess.run(
            [*words, *_source(path)], capture_output=True, timeout=_PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{path}: ffmpeg found nothing in {_PROBE_SECONDS} s; convert it to WAV"
        ) from None
    if found.returncode:
        raise UserError(
            f"{path}: not a readable sound file ({_last_line(found.stderr, path)}); "
            "convert it to WAV or FLAC"
        )
    return _understood(json.loads(found.stdout), path)


def _understood(answer: Mapping[str, Any], path: Path) -> Probe:
    streams = answer.get("streams", [])
    sounds = [s for s in streams if s.get("codec_type") == "audio" and _form(s)]
    if not sounds:
        raise UserError(f"{path}: no sound in it; give a recording that has some")
    sound, container = sounds[0], answer["format"]
    form = _form(sound, container.get("format_name", ""))
    tags = {k.lower(): v for k, v in _all_tags(container, sound).items()}
    return Probe(
        form,
        _stored_seconds(sound, form.container),
        {_TAGS[name]: value for name, value in tags.items() if name in _TAGS},
        len(sounds),
        _numbers(streams, "video", still=False),
        _numbers(streams, "video", still=True),
        _numbers(streams, "subtitle", still=False),
    )


def _form(sound: Mapping[str, Any], container: str = "-") -> Format:
    """Format of a stream; nothing where the numbers that it needs are missing."""
    rate, channels = int(sound.get("sample_rate", 0)), int(sound.get("channels", 0))
    if not (rate and channels):
        return ()  # type: ignore[return-value]
    bit_rate = int(sound.get("bit_rate", 0))
    return Format(rate, channels, container, sound.get("codec_name", ""), bit_rate)


def _all_tags(*holders: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the container and of the stream: OGG has them there."""
    return {k: v for holder in holders for k, v in holder.get("tags", {}).items()}


def _stored_seconds(sound: Mapping[str, Any], container: str) -> float:
    """Length that the container stores; 0 if it stores none, or ffprobe guesses."""
    if not _TRUSTED & set(container.split(",")):
        return 0.0
    if "duration" in sound:
        return float(sound["duration"])
    text = {k.upper(): v for k, v in sound.get("tags", {}).items()}.get("DURATION", "")
    try:
        hours, minutes, seconds = text.split(":")  # as Matroska has it
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0


def _numbers(
    streams: list[Mapping[str, Any]], kind: str, still: bool
) -> tuple[int, ...]:
    return tuple(
        stream["index"]
        for stream in streams
        if stream.get("codec_type") == kind
        and bool(stream.get("disposition", {}).get("attached_pic")) == still
    )


class FfmpegReader:
    """Reads one file from its beginning, as often as asked.

    Args:
        path: of the file.

    Attributes:
        probe: what ffprobe says.
        format: what its first sound is like.
        frames: samples per channel that it promises, or that were counted.
        slack: how many of them may be missing without it being truncated.
        tags: title, artist and the like.

    Raises:
        UserError: it is no sound or video, has no sound, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.probe = probe(path)
        self.format, self.tags = self.probe.format, self.probe.tags
        rate = self.format.rate
        self.frames = round(self.probe.seconds * rate)
        if self.frames:
            self.slack = round(
                (_SLACK_SECONDS + _SLACK_SHARE * self.probe.seconds) * rate
            )
        else:
            self.frames, self.slack = sum(map(len, self.blocks(rate))), 0
        if not self.frames:
            raise UserError(f"{path}: no samples; record or fetch it again")

    def blocks(self, length: int) -> Iterator[np.ndarray]:
        """Read float32 (n, channels), n up to ``length``, until the sound ends.

        Raises:
            UserError: it is damaged.
        """
        words = ["ffmpeg", "-nostdin", "-v", "error", *_source(self._path)]
        words += ["-map", "0:a:0", "-ac", str(self.format.channels)]
        words += ["-ar", str(self.format.rate)]
        if self.probe.pictures:
            words += ["-af", _IN_STEP]
        words += ["-c:a", "pcm_f32le", "-f", "f32le", "pipe:1"]
        frame = 4 * self.format.channels
        with _process(words, stdout=subprocess.PIPE) as (process, errors):
            assert process.stdout is not None
            while data := process.stdout.read(length * frame):
                samples = np.frombuffer(data[: len(data) // frame * frame], "<f4")
                yield samples.reshape(-1, self.format.channels)
            if process.wait(_PATIENCE):
                raise UserError(
                    f"{self._path}: damaged ({_last_line(errors(), self._path)}); "
                    "fetch or record it again"
                )


class FfmpegWriter:
    """Writes one file through ffmpeg.

    Args:
        temporary: where.
        form: what it is like.
        source: the recording, whose tags, and pictures where the container takes them,
            are copied; None for none.
        path: where it will be moved, for errors.

    Raises:
        UserError: here and below: the format cannot be written, or the disk is full.
    """

    def __init__(
        self, temporary: Path, form: Format, source: Path | None, path: Path
    ) -> None:
        self._path, self._form, self.frames = path, form, 0
        words = ["ffmpeg", "-y", "-v", "error", "-f", "f32le", "-ar", str(form.rate)]
        words += ["-ac", str(form.channels), "-i", "pipe:0"]
        words += _copied(source, form.container) if source else ["-map", "0:a"]
        words += ["-c:a", form.subtype] if form.subtype else []
        words += ["-b:a", str(form.bit_rate)] if form.bit_rate else []
        words += ["-strict", "experimental", "-f", form.container, f"file:{temporary}"]
        self._stack = ExitStack()
        self._process, self._errors = self._stack.enter_context(
            _process(words, stdin=subprocess.PIPE)
        )

    def write(self, block: np.ndarray) -> None:
        """Append (n, channels)."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(block.astype("<f4").tobytes())
        except BrokenPipeError:
            self._fail()
        self.frames += len(block)

    def finish(self) -> None:
        """Complete the file."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            self._fail()
        if self._process.wait():
            self._fail()
        self._stack.close()

    def abort(self) -> None:
        """End ffmpeg, whatever it has written."""
        self._stack.close()

    def _fail(self) -> None:
        reason = _last_line(self._errors(), self._path)
        raise UserError(
            f"{self._path}: cannot be written (ffmpeg: {reason}); free disk space, or "
            "name an output that ends in .wav or .flac"
        )


def _copied(source: Path, container: str) -> list[str]:
    """Words that copy tags, and the pictures and subtitles that the container takes."""
    words = [*_source(source), "-map_metadata", "1", "-map_chapters", "1"]
    words += ["-map_metadata:s:a:0", "1:s:a:0"]
    found = probe(source)
    if container in VIDEO_MUXERS:
        before, behind = found.pictures, (*found.covers, *found.subtitles)
    else:
        before, behind = (), found.covers if container == "ipod" else ()
    kept = [*(f"1:{n}" for n in before), "0:a", *(f"1:{n}" for n in behind)]
    words += [word for number in kept for word in ("-map", number)]
    return [*words, "-c:v", "copy", "-c:s", "copy"]


@functools.cache
def encoders() -> frozenset[str]:
    """Names of the codecs that this ffmpeg writes."""
    words = ["ffmpeg", "-v", "quiet", "-encoders"]
    shown = subprocess.run(words, capture_output=True, text=True).stdout
    listed = shown.partition("------")[2].splitlines()
    return frozenset(line.split()[1] for line in listed if len(line.split()) > 1)


@contextmanager
def _process(
    words: list[str], stdin: int = subprocess.DEVNULL, stdout: int | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], bytes]]]:
    """Run ffmpeg; yields it, and a function that reads what it complained of."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=complaints)

        def errors() -> bytes:
            process.wait(_PATIENCE)
            complaints.seek(0)
            return complaints.read()

        try:
            yield process, errors
        finally:
            process.kill()  # of what has ended already, nothing
            process.communicate()


def _last_line(errors: bytes, path: Path) -> str:
    """What ffmpeg said last, without the file's name."""
    lines = errors.decode(errors="replace").strip().splitlines() or ["no reason given"]
    return lines[-1].replace(f"file:{path}: ", "").strip()[:200]
