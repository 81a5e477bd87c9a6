#!/usr/bin/env python3
"""How the band of a recording is found, and which enrolment suits it.

python tools/measure_bands.py LibriSpeech/train-mini corpora/dev/speechocean762

Segments of 3 s as recorded, at 8 kHz, and over a telephone: power below 180 Hz (low)
and above 4.2 kHz (high) over that of speech in every second, in dB, at 1, 5, 50, 95 and
99 %; and the AUC of enrolments of both bands (the same voice against all others of the
corpus). Docs: docs/measured/speaker_encoders.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soxr
import torch
from speech_segments import Speaker, read_speakers

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime.band import BandMeter, telephone
from espnet_pse_kd.speaker import load_speaker_encoder


def eight_kilohertz(wave: np.ndarray) -> np.ndarray:
    """Speech that was sampled at 8 kHz once, (N,) at 16 kHz."""
    narrow = soxr.resample(wave, SAMPLE_RATE, 8000)
    return soxr.resample(narrow, 8000, SAMPLE_RATE)[: len(wave)]


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as recorded": lambda wave: wave,
    "8 kHz": eight_kilohertz,
    "telephone": telephone,
}
SHARES = [0.01, 0.05, 0.5, 0.95, 0.99]
ENROLMENTS = {name: KINDS[name] for name in ("as recorded", "telephone")}


def ratios(waves: Sequence[np.ndarray]) -> np.ndarray:
    """Ratios of every second with speech of all segments."""
    found = []
    for wave in waves:
        meter = BandMeter(SAMPLE_RATE)
        meter.add(wave)
        found.append(meter.ratios())
    return np.concatenate(found)


def area(enrolments: np.ndarray, vectors: np.ndarray, of: np.ndarray) -> float:
    """AUC of the same voice against all others: (S, D), (M, D), (M,)."""
    scores = enrolments @ vectors.T  # [S, M]
    same = np.arange(len(enrolments))[:, None] == of
    own, other = scores[same], np.sort(scores[~same])
    return float(np.mean(np.searchsorted(other, own) / len(other)))


def embedded(name: str, waves: Sequence[np.ndarray]) -> np.ndarray:
    """Vectors (M, D)."""
    encoder = load_speaker_encoder(name)
    return torch.stack([encoder.embed(wave) for wave in waves]).numpy()


def measure(speakers: Sequence[Speaker], encoders: Sequence[str]) -> list[str]:
    """Lines of the two tables of one corpus."""
    segments = [wave for one in speakers for wave in one.segments]
    of = np.repeat(np.arange(len(speakers)), [len(s.segments) for s in speakers])
    lines = []
    for kind, change in KINDS.items():
        waves = [change(wave) for wave in segments]
        quantiles = np.quantile(ratios(waves), SHARES, 0).T.round(1)  # [2, Q]
        line = f"{kind}: low {quantiles[0]}, high {quantiles[1]}"
        for encoder in encoders:
            vectors = embedded(encoder, waves)
            for name, enrolled in ENROLMENTS.items():
                own = embedded(encoder, [enrolled(s.enrolment) for s in speakers])
                line += f"; {encoder}, {name}: {area(own, vectors, of):.4f}"
        lines.append(line)
    return lines


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("corpora", type=Path, nargs="+", help="folders CORPUS/SPEAKER/**/*.flac")
    add("--encoders", nargs="*", default=["ge2e_robust", "campp"])
    add("--segments", type=int, default=2, help="most segments of a speaker")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in args.corpora:
        generator = np.random.default_rng(args.seed)
        speakers = read_speakers(folder, args.segments, 3.0, 9.0, generator)
        print(f"{folder.name}, {len(speakers)} speakers, seed {args.seed}", flush=True)
        print("\n".join(measure(speakers, args.encoders)), flush=True)


if __name__ == "__main__":
    main()
