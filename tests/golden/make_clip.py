"""Make the golden clip: `python tests/golden/make_clip.py` writes two FLAC files here.

A minute of two synthesized voices in pink noise and hum: the target alone, both, the
interferer alone, both again, the target alone. Samples are multiples of 1/2048, so
that the files stay small.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.espeak import draw_utterance, read_voices
from espnet_pse_kd.corpora.espeak_engine import Voice
from espnet_pse_kd.corpora.synthetic_noise import synthesize_noise

FOLDER = Path(__file__).parent
SEED = 20
SECONDS = 60
TARGET_SPEAKS = ((2, 25), (38, 58))
INTERFERER_SPEAKS = ((12, 48),)
ENROLMENT_SECONDS = 10
_VOICE_DBFS, _NOISE_DBFS = -26.0, -52.0
_STEPS = 2048


def speak(rng: np.random.Generator, voice: Voice, seconds: int) -> np.ndarray:
    """Sentences of one voice, one after the other: (samples,)."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < seconds * SAMPLE_RATE:
        parts.append(draw_utterance(rng, voice)[1])
    return at_level(np.concatenate(parts)[: seconds * SAMPLE_RATE], _VOICE_DBFS)


def at_level(wave: np.ndarray, dbfs: float) -> np.ndarray:
    return wave * (10 ** (dbfs / 20) / np.sqrt(np.mean(wave**2)))


def make_clip() -> tuple[np.ndarray, np.ndarray]:
    """Mixture and enrolment, float64 (samples,)."""
    rng = np.random.default_rng(SEED)
    target, interferer = rng.choice(read_voices(), 2, replace=False)
    samples = SECONDS * SAMPLE_RATE
    mixture = sum(
        at_level(synthesize_noise(kind, rng, samples), _NOISE_DBFS)
        for kind in ("pink", "hum")
    )
    for voice, spans in ((target, TARGET_SPEAKS), (interferer, INTERFERER_SPEAKS)):
        for start, end in spans:
            span = slice(start * SAMPLE_RATE, end * SAMPLE_RATE)
            mixture[span] += speak(rng, voice, end - start)
    return mixture, speak(rng, target, ENROLMENT_SECONDS)


def main() -> None:
    for name, wave in zip(("mixture", "enrolment"), make_clip()):
        coarse = np.round(wave.clip(-1, 1 - 1 / _STEPS) * _STEPS) / _STEPS
        soundfile.write(FOLDER / f"{name}.flac", coarse, SAMPLE_RATE, "PCM_16")


if __name__ == "__main__":
    main()
