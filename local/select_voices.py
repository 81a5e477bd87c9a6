#!/usr/bin/env python3
"""Choose the voices of the espeak corpus: writes espnet_pse_kd/corpora/voices.txt.

For developers; the recipe reads the table. Candidates are drawn over variant, accent,
pitch, rate and formant shift. A candidate is kept if the cosine of its GE2E d-vector
(three sentences) to that of every voice kept before is below the threshold; those
least like all others are tried first.
"""

from __future__ import annotations

import argparse
import re
from functools import cache, partial
from pathlib import Path

import espeakng_loader
import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.espeak import VOICES_FILE, write_voices
from espnet_pse_kd.corpora.espeak_engine import Voice, synthesize
from espnet_pse_kd.progress import parallel_map
from espnet_pse_kd.speaker import SpeakerEncoder, load_speaker_encoder

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
        int(rng.integers(5, 95)),
        int(rng.integers(135, 195)),
        round(float(rng.uniform(0.83, 1.22)), 2),
        "m",
    )
    wave = np.concatenate([synthesize(voice, text) for text in SENTENCES])
    gender = "m" if fundamental(wave) < 165 else "f"
    vector = _encoder().embed(wave)
    return Voice(**(vars(voice) | {"gender": gender})), np.asarray(vector)


def select(vectors: np.ndarray, threshold: float) -> list[int]:
    """Greedy choice of rows whose mutual cosines are below ``threshold``."""
    cosines = vectors @ vectors.T
    chosen: list[int] = []
    for index in np.argsort(cosines.mean(1)):
        if np.all(cosines[index, chosen] < threshold):
            chosen.append(int(index))
    return chosen


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=1200)
    parser.add_argument("--voices", type=int, default=215)
    parser.add_argument("--threshold", type=float, default=0.88)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nj", type=int, default=2)
    parser.add_argument("--output", type=Path, default=VOICES_FILE)
    args = parser.parse_args()
    draw = partial(candidate, seed=args.seed)
    pool = list(parallel_map(draw, range(args.candidates), args.nj, "candidates"))
    vectors = np.stack([vector for _, vector in pool])
    chosen = select(vectors, args.threshold)
    print(f"{len(chosen)} of {len(pool)} candidates are below {args.threshold}")
    chosen = chosen[: args.voices]
    cosines = vectors[chosen] @ vectors[chosen].T
    np.fill_diagonal(cosines, -1)
    print(f"kept {len(chosen)}, largest cosine {cosines.max():.3f}")
    voices = [
        Voice(**(vars(pool[index][0]) | {"name": f"v{number:03d}"}))
        for number, index in enumerate(chosen)
    ]
    print({g: sum(v.gender == g for v in voices) for g in "fm"})
    write_voices(args.output, voices)


if __name__ == "__main__":
    main()
