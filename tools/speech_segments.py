"""Segments of speech of many speakers, for measurements of speaker encoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.features import trim_silence


class Speaker(NamedTuple):
    """Speech of one speaker without its silence, float32 at 16 kHz.

    Attributes:
        name: of the speaker.
        enrolment: one long segment.
        segments: short ones, from other recordings than ``enrolment``.
    """

    name: str
    enrolment: np.ndarray
    segments: list[np.ndarray]


def read_speakers(
    folder: Path,
    segments: int,
    seconds: float,
    enrolment_seconds: float,
    generator: np.random.Generator,
) -> list[Speaker]:
    """Read the speakers of ``folder/SPEAKER/**/*.flac`` who have enough speech.

    A segment is joined of as many recordings as it needs; no recording is in two.

    Args:
        folder: of one corpus.
        segments: most segments of a speaker.
        seconds: length of a segment.
        enrolment_seconds: length of the enrolment.
        generator: shuffles recordings.

    Returns:
        speakers with an enrolment and at least two segments.
    """
    speakers = []
    for home in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = sorted(home.rglob("*.flac"))
        order = [paths[index] for index in generator.permutation(len(paths))]
        pieces = _speech(order)
        enrolment = _join(pieces, enrolment_seconds)
        short = [_join(pieces, seconds) for _ in range(segments)]
        found = [segment for segment in short if segment is not None]
        if enrolment is not None and len(found) >= 2:
            speakers.append(Speaker(home.name, enrolment, found))
    return speakers


def _speech(paths: list[Path]) -> Iterator[np.ndarray]:
    """Speech of each recording in which there is some."""
    for path in paths:
        try:
            yield trim_silence(read_audio(path), str(path))
        except UserError:
            continue


def _join(pieces: Iterator[np.ndarray], seconds: float) -> np.ndarray | None:
    """The next pieces as one segment; None where they do not suffice."""
    wanted, found = round(seconds * SAMPLE_RATE), [np.zeros(0, np.float32)]
    while sum(map(len, found)) < wanted:
        piece = next(pieces, None)
        if piece is None:
            return None
        found.append(piece)
    return np.concatenate(found)[:wanted]


class Noises:
    """Crops of the noises in a folder.

    Args:
        folder: of 16 kHz files, at any depth.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.rglob("*.flac"))

    def crop(self, samples: int, generator: np.random.Generator) -> np.ndarray:
        """(N,) of one noise that is not silent, repeated where it is shorter."""
        while True:
            noise = read_audio(self.paths[generator.integers(len(self.paths))])
            noise = np.roll(noise, -int(generator.integers(len(noise))))
            crop = np.resize(noise, samples)
            if power(crop) > 1e-9:
                return crop


def power(wave: np.ndarray) -> float:
    """Mean square of (N,)."""
    return float(np.square(wave, dtype=np.float64).mean())


def at_ratio(wave: np.ndarray, reference: np.ndarray, decibels: float) -> np.ndarray:
    """Scale ``wave`` to lie ``decibels`` below ``reference``; both (N,)."""
    gain = (power(reference) / power(wave) * 10 ** (-decibels / 10)) ** 0.5
    return (gain * wave).astype(np.float32)
