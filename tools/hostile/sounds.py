"""Headers of sound files: single bytes, named fields, truncation, other content."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator

import numpy as np
import soundfile

from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.reading import open_sound
from tools.hostile.ground import Case, Ground

CONTAINERS = {
    "WAV": "PCM_16",
    "FLAC": "PCM_16",
    "AIFF": "PCM_16",
    "AU": "PCM_16",
    "W64": "IMA_ADPCM",
    "RF64": "FLOAT",
    "CAF": "PCM_24",
    "OGG": "VORBIS",
    "MP3": "MPEG_LAYER_III",
}
_BYTES = 72  # of a header that are changed one by one
WAV_FIELDS = {"format": (20, "<H"), "channels": (22, "<H"), "rate": (24, "<I")}
WAV_FIELDS |= {"bytes per second": (28, "<I"), "block": (32, "<H"), "bits": (34, "<H")}
WAV_FIELDS |= {"fmt size": (16, "<I"), "data size": (40, "<I"), "riff size": (4, "<I")}
_NUMBERS = (0, 1, 7, 255, 999, 65535, 1_000_001, 2**31 - 1, 2**31, 2**32 - 1)


@functools.cache
def sound(container: str) -> bytes:
    """A quarter of a second of noise."""
    wave = np.random.default_rng(0).normal(0, 0.1, 4000).clip(-1, 1)
    file = io.BytesIO()
    soundfile.write(file, wave, 16000, CONTAINERS[container], format=container)
    return file.getvalue()


def cases() -> Iterator[Case]:
    """All of this module."""
    for container in CONTAINERS:
        good = sound(container)
        for at in range(min(_BYTES, len(good))):
            for value in (0xFF, 0x00) if at % 2 else (0xFF,):
                data = good[:at] + bytes([value]) + good[at + 1 :]
                yield _case(f"{container}: byte {at} is {value:#x}", data)
        for share in (0.01, 0.1, 0.5, 0.9, 0.99):
            data = good[: int(share * len(good))]
            yield _case(f"{container}: the first {share:.0%}", data)
        yield _case(f"{container}: twice", good + good)
        yield _case(f"{container}: zeros behind", good + bytes(10_000))
    for name, (at, form) in WAV_FIELDS.items():
        for number in _NUMBERS:
            size = struct.calcsize(form)
            field = struct.pack(form, number % 256**size)
            data = sound("WAV")[:at] + field + sound("WAV")[at + size :]
            yield _case(f"WAV: {name} {number}", data)
    for suffix in (".m4a", ".mp4", ".mkv", ".webm", ".amr", ".wav"):
        for number, data in enumerate(_garbage()):
            yield _case(f"garbage {number} as {suffix}", data, suffix, True)


def _garbage() -> Iterator[bytes]:
    random = np.random.default_rng(1)
    yield random.bytes(5000)
    yield b"\0" * 5000
    yield b"\0\0\0\x20ftypM4A " + random.bytes(5000)
    yield b"\x1a\x45\xdf\xa3" + random.bytes(5000)
    yield b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\nfile:///etc/passwd\n"
    yield b"ffconcat version 1.0\nfile /etc/passwd\n"


def _case(
    name: str, data: bytes, suffix: str = ".bin", with_ffmpeg: bool = False
) -> Case:
    def run(ground: Ground) -> None:
        path = ground.folder / f"crafted{suffix}"
        path.write_bytes(data)
        available = ffmpeg.available
        if not with_ffmpeg:  # a process for each would take minutes
            ffmpeg.available = lambda: False
        try:
            read_all(path)
        finally:
            ffmpeg.available = available

    return Case("sound", name, run)


def read_all(path: object) -> None:
    """Read a file as the commands do."""
    with open_sound(str(path)) as given:
        for block in given.blocks():
            assert np.isfinite(block).all()
