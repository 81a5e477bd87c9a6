#!/usr/bin/env python3
"""Choose the voices of the espeak corpus: writes espnet_pse_kd/corpora/voices.txt.

For developers; the recipe reads the table. Candidates are drawn over variant, accent,
pitch, rate and formant shift, and compared by the cosine of their GE2E d-vectors. Three
short sentences sort out most of those that are alike; the rest speak several sets of
about 14 s of the corpus' own sentences, and voices are removed, the one with most
conflicts first, until in every set all cosines are below the threshold. A table can be
pruned with further sets through --pool: cosines vary by 0.015 with the sentences.
"""

from __future__ import annotations

import argparse
import re
from functools import cache, partial
from pathlib import Path

import espeakng_loader
import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.espeak import (
    VOICES_FILE,
    draw_utterance,
    read_voices,
    write_voices,
)
from espnet_pse_kd.corpora.espeak_engine import Voice, synthesize
from espnet_pse_kd.speaker import SpeakerEncoder, load_speaker_encoder
from espnet_pse_kd.utils.progress import parallel_map

ACCENTS = [
    "en-us",
    "en",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-029",
    "en-us-nyc",
]
# Whispers (no voice), echoes and robots (no speaker's voice), and two variants whose
# sound differs from run to run.
LEFT_OUT = (
    "whisper|RicishayMax|robosoft|.*Robot|Demonic|Tweaky|Mr serious|fast|Reed|caleb"
)
SENTENCES = (
    "the quick brown fox jumps over the lazy dog",
    "please call stella and ask her to bring these things",
    "we will meet at the station on wednesday morning at ten",
)


@cache
def variants() -> list[str]:
    """Voice variants of the installed espeak-ng, but those left out."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not re.match(LEFT_OUT, name)]


def fundamental(wave: np.ndarray) -> float:
    """Median fundamental of a wave in Hz, by autocorrelation of 40 ms frames."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 640)[::320] * np.hanning(
        640
    )
    frames = frames[np.square(frames).mean(1) > 0.1 * np.square(frames).mean()]
    spectrum = np.abs(np.fft.rfft(frames, 2048)) ** 2
    correlation = np.fft.irfft(spectrum)[:, :640]
    low, high = SAMPLE_RATE // 350, SAMPLE_RATE // 60
    best = low + correlation[:, low:high].argmax(1)
    return float(SAMPLE_RATE / np.median(best))


@cache
def _encoder() -> SpeakerEncoder:
    return load_speaker_encoder("ge2e")


def candidate(index: int, seed: int) -> tuple[Voice, np.ndarray]:
    """Candidate ``index`` and its d-vector."""
    rng = np.random.default_rng([seed, index])
    voice = Voice(
        f"c{index}",
        ACCENTS[rng.integers(len(ACCENTS))],
        variants()[rng.integers(len(variants()))],
        int(rng.integers(0, 99)),
        int(rng.integers(135, 195)),
        round(float(rng.uniform(0.8, 1.28)), 2),
        "m",
    )
    wave = np.concatenate([synthesize(voice, text) for text in SENTENCES])
    gender = "m" if fundamental(wave) < 165 else "f"
    vector = _encoder().embed(wave)
    return Voice(**(vars(voice) | {"gender": gender})), np.asarray(vector)


def long_vectors(voice: Voice, sets: int) -> np.ndarray:
    """(sets, 256): d-vectors of several sets of sentences."""
    vectors = []
    for number in range(sets):
        rng = np.random.default_rng([number, *voice.name.encode()])
        waves = [draw_utterance(rng, voice)[1] for _ in range(3)]
        vectors.append(_encoder().embed(np.concatenate(waves)))
    return np.stack(vectors)


def similarity(vectors: np.ndarray) -> np.ndarray:
    """(K, K) largest cosine over the sets of (K, sets, 256) vectors."""
    return np.einsum("isd,jsd->sij", vectors, vectors).max(0)


def select(cosines: np.ndarray, threshold: float) -> list[int]:
    """Rows of (K, K) that are mutually below ``threshold``."""
    alike = (cosines >= threshold) & ~np.eye(len(cosines), dtype=bool)
    kept = np.ones(len(cosines), bool)
    while (conflicts := (alike & kept).sum(1) * kept).any():
        kept[conflicts.argmax()] = False
    return [int(index) for index in np.flatnonzero(kept)]


def draw_pool(args: argparse.Namespace) -> list[Voice]:
    """Candidates that differ in the short sentences."""
    draw = partial(candidate, seed=args.seed)
    pool = list(parallel_map(draw, range(args.candidates), args.nj, "candidates"))
    short = np.stack([vector for _, vector in pool])[:, None]
    return [pool[index][0] for index in select(similarity(short), args.prefilter)]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1800)
    parser.add_argument("--pool", type=Path, help="table to prune; none drawn then")
    parser.add_argument("--sets", type=int, default=2)
    parser.add_argument("--prefilter", type=float, default=0.9)
    parser.add_argument("--threshold", type=float, default=0.885)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=int, default=2)
    parser.add_argument("--output", type=Path, default=VOICES_FILE)
    args = parser.parse_args()
    pool = read_voices(args.pool) if args.pool else draw_pool(args)
    finalists = partial(long_vectors, sets=args.sets)
    vectors = np.stack(list(parallel_map(finalists, pool, args.nj, "finalists")))
    cosines = similarity(vectors)
    chosen = select(cosines, args.threshold)
    largest = cosines[np.ix_(chosen, chosen)][~np.eye(len(chosen), dtype=bool)].max()
    print(f"kept {len(chosen)} of {len(pool)}, largest cosine {largest:.3f}")
    voices = [
        Voice(**(vars(pool[index]) | {"name": f"v{number:03d}"}))
        for number, index in enumerate(chosen)
    ]
    print({g: sum(v.gender == g for v in voices) for g in "fm"})
    write_voices(args.output, voices)


if __name__ == "__main__":
    main()
