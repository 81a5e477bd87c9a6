#!/usr/bin/env python3
"""Thresholds of `runtime.one_voice` and of "this is speech", on development speakers.

python tools/calibrate_enrolment.py --noise NOISE corpora/dev/speechocean762 \\
    corpora/dev/alphanumeric corpora/dev/arabic_sc LibriSpeech/train-mini

Recordings are drawn from pieces of 2 s (and of 1.4 s) of speech, each from one file;
speakers are compared within their corpus alone, where microphones are alike. Docs:
docs/measured/speaker_encoders.md.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from speech_segments import Noises, at_ratio

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.pretrained import CAMPP
from espnet_pse_kd.runtime.enrolment_quality import measure
from espnet_pse_kd.runtime.features import trim_silence
from espnet_pse_kd.runtime.one_voice import similarity, split
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder

SHARES = [0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 1]
DRAWS = 400  # recordings of each kind and corpus


class Pieces(NamedTuple):
    """Pieces of one speaker.

    Attributes:
        long: (P, D) vectors of pieces of 2 s.
        short: (P, D) vectors of the first 1.4 s of each.
        source: (P,) recording of each.
    """

    long: np.ndarray
    short: np.ndarray
    source: np.ndarray


def read_pieces(home: Path, most: int, encoder: OnnxSpeakerEncoder) -> Pieces | None:
    """Pieces of a speaker's recordings; None where there are fewer than six."""
    waves: list[np.ndarray] = []
    source: list[int] = []
    count = round(2.0 * SAMPLE_RATE)
    for number, path in enumerate(sorted(home.rglob("*.flac"))):
        try:
            speech = trim_silence(read_audio(path))
        except UserError:
            continue
        found = [speech[i : i + count] for i in range(0, len(speech), count)]
        found = [piece for piece in found if len(piece) == count][:4]
        waves += found
        source += [number] * len(found)
        if len(waves) >= most:
            break
    if len(waves) < 6:
        return None
    short = round(1.4 * SAMPLE_RATE)
    return Pieces(
        np.stack([encoder.embed(wave) for wave in waves]),
        np.stack([encoder.embed(wave[:short]) for wave in waves]),
        np.array(source),
    )


def pairs(
    speakers: Sequence[Pieces], kind: str, count: int, generator: np.random.Generator
) -> Iterator[tuple[bool, float]]:
    """Whether two recordings are of one voice, and how alike they are."""
    for draw in range(DRAWS):
        first = speakers[generator.integers(len(speakers))]
        second = speakers[generator.integers(len(speakers))]
        if draw % 2:
            second = first
        elif second is first:
            continue
        ours = generator.permutation(len(first.long))[:count]
        sources = set(first.source[ours]) if second is first else set()
        left = [i for i, s in enumerate(second.source) if s not in sources]
        if len(left) >= count:
            theirs = generator.permutation(left)[:count]
            vectors = getattr(first, kind)[ours], getattr(second, kind)[theirs]
            yield second is first, similarity(*vectors)


def splits(
    speakers: Sequence[Pieces], other: int, generator: np.random.Generator
) -> Iterator[float]:
    """Similarity of the halves of recordings of 6 pieces and ``other`` of another."""
    for _ in range(DRAWS):
        order = generator.permutation(len(speakers))
        first, second = (speakers[k] for k in order[:2])
        ours = first.long[generator.permutation(len(first.long))[:6]]
        theirs = second.long[generator.permutation(len(second.long))[:other]]
        yield split(np.concatenate([ours, theirs])).similarity


def row(name: str, values: Sequence[float]) -> str:
    """A line of quantiles."""
    quantiles = " | ".join(f"{q:.2f}" for q in np.quantile(values, SHARES))
    return f"| {name} | {len(values)} | {quantiles} |"


def voices(folder: Path, args: argparse.Namespace) -> list[str]:
    """Rows of one corpus: alike and different voices."""
    encoder = OnnxSpeakerEncoder(CAMPP)
    homes = sorted(path for path in folder.iterdir() if path.is_dir())
    found = (read_pieces(home, args.pieces, encoder) for home in homes)
    known = (one for one in found if one is not None)
    speakers = list(itertools.islice(known, args.speakers))
    generator = np.random.default_rng(args.seed)
    name = f"{folder.name} ({len(speakers)})"
    rows = []
    for kind, count, label in (
        ("short", 1, "1.4 s"),
        ("long", 1, "2 s"),
        ("long", 3, "6 s"),
    ):
        drawn = list(pairs(speakers, kind, count, generator))
        for same, what in ((True, "one voice"), (False, "two voices")):
            values = [value for is_same, value in drawn if is_same == same]
            rows.append(row(f"{name}, two files of {label}, {what}", values))
    for other in (0, 2, 4):
        what = f"12 s and {2 * other} s of another" if other else "12 s of one voice"
        values = list(splits(speakers, other, generator))
        rows.append(row(f"{name}, one file, {what}", values))
    return rows


def variation(folder: Path, args: argparse.Namespace) -> list[str]:
    """Rows of one corpus: how much the spectrum varies, clean and in noise."""
    generator, noises = np.random.default_rng(args.seed), Noises(args.noise)
    paths = sorted(folder.rglob("*.flac"))
    picked = generator.permutation(len(paths))[: args.files]
    waves = [read_audio(paths[k]) for k in picked]
    waves = [wave for wave in waves if measure(wave).speech >= 1.5]
    rows = [row(f"{folder.name}, clean", [measure(w).variation for w in waves])]
    for snr in (10, 5):
        mixed = [w + at_ratio(noises.crop(len(w), generator), w, snr) for w in waves]
        values = [measure(wave).variation for wave in mixed]
        rows.append(row(f"{folder.name}, noise at {snr} dB", values))
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("corpora", type=Path, nargs="+", help="folders CORPUS/SPEAKER/**/*.flac")
    add("--noise", type=Path, required=True, help="folder of 16 kHz noises")
    add("--pieces", type=int, default=12, help="most pieces of 2 s of a speaker")
    add("--speakers", type=int, default=12, help="most speakers of a corpus")
    add("--files", type=int, default=40, help="files of a corpus for the variation")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    head = " | ".join(f"{100 * share:g} %" for share in SHARES)
    print(f"| | n | {head} |\n{'|---' * (2 + len(SHARES))}|", flush=True)
    for folder in args.corpora:
        print("\n".join(voices(folder, args)), flush=True)
    for folder in args.corpora:
        print("\n".join(variation(folder, args)), flush=True)
    noise = [measure(read_audio(path)) for path in sorted(args.noise.rglob("*.flac"))]
    heard = [one.variation for one in noise if one.speech >= 1.5]
    print(row(f"noises, {len(noise) - len(heard)} others without speech", heard))


if __name__ == "__main__":
    main()
