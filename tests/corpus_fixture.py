"""A tiny corpus in LibriSpeech's layout, of modulated noise: syllables and pauses."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import soundfile

from espnet_pse_kd.audio import SAMPLE_RATE

TRAIN = {"11": 3, "12": 3, "13": 1, "14": 2, "15": 3, "16": 3, "17": 3, "18": 3}
TEST = {"21": 3, "22": 3, "23": 3, "24": 3}


def babble(seed: int, seconds: float) -> np.ndarray:
    """Speech-like int16 noise: 4 syllables per second, with pauses between them."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * SAMPLE_RATE)
    time = np.arange(samples) / SAMPLE_RATE
    swing = np.maximum(np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6)), 0) ** 2
    wave = swing * rng.standard_normal(samples) * 2500
    return wave.clip(-32768, 32767).astype(np.int16)


def write(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> None:
    """Write PCM_16 audio, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")


def make_librispeech(root: Path) -> None:
    """Write ``LibriSpeech/``, ``noise/`` and ``rir/``; speaker 13 has one recording."""
    libri = root / "LibriSpeech"
    rows = [";ID |SEX| SUBSET |MINUTES| NAME"]
    for subset, speakers in (("train-tiny", TRAIN), ("test-tiny", TEST)):
        for speaker, count in speakers.items():
            sex = "FM"[int(speaker) % 2]
            rows.append(f"{speaker} | {sex} | {subset} | 1 | Name")
            chapter = libri / subset / speaker / "1"
            lines = []
            for index in range(count):
                uid = f"{speaker}-1-{index:04d}"
                seconds = 6.0 if count == 1 else 3.5 + index
                write(
                    chapter / f"{uid}.flac", babble(zlib.crc32(uid.encode()), seconds)
                )
                if index != 1:
                    lines.append(f"{uid} SOME WORDS {index}")
            (chapter / f"{speaker}-1.trans.txt").write_text("\n".join(lines) + "\n")
    (libri / "SPEAKERS.TXT").write_text("\n".join(rows) + "\n")
    for split, count in (("train", 3), ("test", 2)):
        for index in range(count):
            rng = np.random.default_rng([index, count])
            noise = (rng.standard_normal(3 * SAMPLE_RATE) * 1000).astype(np.int16)
            write(root / "noise" / split / f"hiss {index}.flac", noise)
    for room, count in (("hall", 2), ("cell", 1), ("shed", 2)):
        for index in range(count):
            rng = np.random.default_rng([index, zlib.crc32(room.encode())])
            decay = np.exp(-np.arange(3200) / 500)
            response = rng.standard_normal(3200) * decay * 2000
            response[100] = 20000
            write(root / "rir" / f"{room}_{index}.wav", response.astype(np.int16))
