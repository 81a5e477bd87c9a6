"""Stage 1, the embedded corpus: espeak-ng voices, a small grammar, synthetic noises."""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import soundfile

from espnet_pse_kd.audio import SAMPLE_RATE, write_audio
from espnet_pse_kd.corpora.espeak_engine import Voice, synthesize
from espnet_pse_kd.corpora.inventory import (
    MIN_SPEAKERS,
    SPLITS,
    Utterance,
    write_noise,
    write_speech,
)
from espnet_pse_kd.corpora.synthetic_noise import KINDS, synthesize_noise
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.utils.progress import parallel_map

GRAMMAR_FILE = Path(__file__).with_name("grammar.txt")
VOICES_FILE = Path(__file__).with_name("voices.txt")
_HEADER = (
    "# Voices whose GE2E d-vectors have a cosine below 0.9 to every other one,\n"
    "# chosen by tools/select_voices.py.\n"
)
_LEVEL_DBFS = (-32.0, -20.0)
_SHORTEST_SECONDS = 3.0


def write_voices(path: Path, voices: list[Voice]) -> None:
    """Write the table of voices, one line per voice, the fields of `Voice` in order."""
    with atomic_open(path) as file:
        file.write(_HEADER + "# " + " ".join(f.name for f in fields(Voice)) + "\n")
        for voice in voices:
            file.write(" ".join(str(value) for value in asdict(voice).values()) + "\n")


def read_voices(path: Path = VOICES_FILE) -> list[Voice]:
    """Read the table of voices.

    Raises:
        UserError: a line does not have the fields of `Voice`.
    """
    voices = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        try:
            name, accent, variant, pitch, rate, formant, gender = line.split()
            voice = Voice(
                name, accent, variant, int(pitch), int(rate), float(formant), gender
            )
        except ValueError:
            names = " ".join(f.name for f in fields(Voice))
            raise UserError(f"{path}:{number}: {line!r}; expected {names}") from None
        voices.append(voice)
    return voices


@functools.cache
def read_grammar(path: Path = GRAMMAR_FILE) -> dict[str, list[str]]:
    """Read the grammar: alternatives per symbol.

    Raises:
        UserError: a line has no colon, or a symbol is used that is not defined.
    """
    rules: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        symbol, colon, alternatives = line.partition(":")
        if not colon:
            raise UserError(f"{path}:{number}: {line!r}; expected 'name: a | b'")
        rules[symbol.strip()] = [a.strip() for a in alternatives.split("|")]
    used = {
        s for rule in rules.values() for a in rule for s in re.findall("<(.+?)>", a)
    }
    if missing := sorted((used | {"S"}) - set(rules)):
        raise UserError(f"{path}: <{missing[0]}> is not defined; add a line for it")
    return rules


def draw_sentence(rng: np.random.Generator, rules: dict[str, list[str]]) -> str:
    """Draw one sentence, lower case words separated by spaces."""

    def expand(match: re.Match[str]) -> str:
        options = rules[match.group(1)]
        text = options[int(rng.integers(len(options)))]
        return re.sub("<(.+?)>", expand, text)

    return re.sub("<(.+?)>", expand, "<S>")


def draw_utterance(rng: np.random.Generator, voice: Voice) -> tuple[str, np.ndarray]:
    """Speak sentences until there are 3 s of speech.

    Returns:
        Transcript in upper case, and float32 (samples,) with 0.1-0.3 s of silence on
        either side, at a level drawn between -32 and -20 dBFS.
    """
    texts: list[str] = []
    parts = [_silence(rng)]
    while sum(len(part) for part in parts) < _SHORTEST_SECONDS * SAMPLE_RATE:
        texts.append(draw_sentence(rng, read_grammar()))
        wave = synthesize(
            voice,
            texts[-1],
            pitch_range=int(rng.integers(30, 75)),
            seed=int(rng.integers(1, 2**31)),
        )
        parts += [wave, _silence(rng)]
    wave = np.concatenate(parts)
    gain = 10 ** (rng.uniform(*_LEVEL_DBFS) / 20) / np.sqrt(np.mean(wave**2))
    gain = min(gain, 0.98 / np.abs(wave).max())
    return " ".join(texts).upper(), (gain * wave).astype(np.float32)


def _silence(rng: np.random.Generator) -> np.ndarray:
    return np.zeros(int(rng.uniform(0.1, 0.3) * SAMPLE_RATE), np.float32)


def _make_voice(
    job: tuple[int, Voice], folder: Path, utterances: int, seed: int
) -> list[Utterance]:
    """Write the utterances of one voice (kept where they are there already)."""
    number, voice = job
    result = []
    for index in range(utterances):
        rng = np.random.default_rng([seed, 41, number, index])
        uid = f"{voice.name}-{index:03d}"
        path = (folder / voice.name / f"{uid}.flac").resolve()
        text_path = path.with_suffix(".txt")
        if not text_path.is_file():
            text, wave = draw_utterance(rng, voice)
            write_audio(path, wave)
            # The transcript comes last: with it, the audio is complete.
            with atomic_open(text_path) as file:
                file.write(text)
        text = text_path.read_text(encoding="utf-8")
        samples = soundfile.info(str(path)).frames
        result.append(Utterance(uid, path, voice.name, voice.gender, text, samples))
    return result


def _make_noise(
    job: tuple[str, int], folder: Path, seconds: float, seed: int
) -> tuple[str, Path]:
    split, index = job
    kind = KINDS[index % len(KINDS)]
    uid = f"{kind}_{split}_{index:03d}"
    path = (folder / f"{uid}.wav").resolve()
    if not path.is_file():
        rng = np.random.default_rng([seed, 42, SPLITS.index(split), index])
        write_audio(path, synthesize_noise(kind, rng, round(seconds * SAMPLE_RATE)))
    return uid, path


def check_voice_loads(voice: Voice) -> None:
    """Check that a voice is really there, and sounds unlike its plain accent.

    Raises:
        UserError: espeak-ng does not have it, or its audio is the default's.
    """
    text = "good morning"
    own = synthesize(voice, text, seed=1)
    plain = replace(voice, variant="", name=f"{voice.name} (plain accent)")
    default = synthesize(plain, text, seed=1)
    if np.array_equal(own, default):
        raise UserError(
            f"{voice.name} ({voice.espeak_name}): sounds exactly like {voice.accent}; "
            "remove the voice from the table"
        )


def split_voices(voices: list[Voice], seed: int) -> dict[str, list[Voice]]:
    """Divide the voices over the splits: 8 % dev, 17 % test, the rest train.

    Both sexes are in every split in about the proportions of the table.
    """
    shuffled = np.random.default_rng([seed, 43]).permutation(len(voices))
    # Any stretch of this order has the proportions of the whole.
    place: dict[int, float] = {}
    for gender in {voice.gender for voice in voices}:
        same = [index for index in shuffled if voices[index].gender == gender]
        place |= {index: (k + 0.5) / len(same) for k, index in enumerate(same)}
    order = [voices[index] for index in sorted(place, key=lambda i: (place[i], i))]
    dev = max(MIN_SPEAKERS, round(0.08 * len(order)))
    test = max(MIN_SPEAKERS, round(0.17 * len(order)))
    return {
        "train": order[dev + test :],
        "dev": order[:dev],
        "test": order[dev : dev + test],
    }


def prepare_espeak(
    data_dir: Path,
    voices: int = 203,
    utterances: int = 10,
    noises: tuple[int, int, int] = (60, 20, 40),
    noise_seconds: float = 20.0,
    seed: int = 0,
    nj: int = 1,
) -> None:
    """Synthesize the embedded corpus and write its inventory, without rooms.

    Args:
        data_dir: folder of the splits.
        voices: number of voices, from the top of the committed table.
        utterances: utterances per voice, each 3-8 s.
        noises: noise recordings per split.
        noise_seconds: their length.
        seed: of sentences, splits and noises; the same seed gives the same samples.
        nj: processes.

    Raises:
        UserError: there are not as many voices, or one does not load.
    """
    table = read_voices()
    if not 4 * MIN_SPEAKERS <= voices <= len(table):
        raise UserError(
            f"--voices {voices}: give {4 * MIN_SPEAKERS} to {len(table)}, "
            "the number of distinct voices"
        )
    if utterances < 2:
        raise UserError(
            f"--utterances {utterances}: give at least 2, one to enrol from"
        )
    numbers = {voice.name: number for number, voice in enumerate(table)}
    check = list(parallel_map(check_voice_loads, table[:voices], nj, "loading voices"))
    assert len(check) == voices
    for split, members in split_voices(table[:voices], seed).items():
        folder = data_dir / split
        make = functools.partial(
            _make_voice,
            folder=folder / f"speech/wav_seed{seed}",
            utterances=utterances,
            seed=seed,
        )
        jobs = [(numbers[voice.name], voice) for voice in members]
        made = parallel_map(make, jobs, nj, f"synthesizing {split} speech")
        write_speech(folder / "speech", [u for of_voice in made for u in of_voice])
        count = noises[SPLITS.index(split)]
        make_noise = functools.partial(
            _make_noise,
            folder=folder / f"noise/wav_seed{seed}",
            seconds=noise_seconds,
            seed=seed,
        )
        places = [(split, index) for index in range(count)]
        label = f"synthesizing {split} noises"
        files = dict(parallel_map(make_noise, places, nj, label))
        samples = round(noise_seconds * SAMPLE_RATE)
        write_noise(folder / "noise", files, dict.fromkeys(files, samples))
        (folder / "rir" / "measured.scp").unlink(missing_ok=True)
