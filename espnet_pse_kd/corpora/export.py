"""A Kaldi folder of a downloaded corpus: audio that is not 16 kHz mono is converted."""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.inventory import Utterance
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_spk2utt, write_table
from espnet_pse_kd.utils.progress import parallel_map

_NAMED = 20


def write_kaldi(
    folder: Path,
    utterances: Sequence[Utterance],
    nj: int = 1,
    bad_share: float = 0.01,
    min_utterances: int = 1,
) -> None:
    """Write ``wav.scp``, ``utt2spk``, ``spk2utt`` and, where known, sexes and texts.

    Recordings that are 16 kHz mono already are referred to where they are; others are
    converted to ``folder/audio/SPEAKER/UTTERANCE.flac``. A killed run resumes.

    Args:
        folder: to write to.
        utterances: of a corpus.
        nj: processes.
        bad_share: share of the recordings that may be unreadable and is left out.
        min_utterances: speakers with fewer are left out.

    Raises:
        UserError: too many recordings are unreadable, or nobody is left.
    """
    counts = Counter(u.speaker for u in utterances)
    chosen = [u for u in utterances if counts[u.speaker] >= min_utterances]
    convert = functools.partial(_converted, audio=folder / "audio")
    done = list(parallel_map(convert, chosen, nj, f"converting to {folder}"))
    faults = [result for result in done if isinstance(result, str)]
    good = [result for result in done if isinstance(result, Utterance)]
    if not good or len(faults) > bad_share * len(done):
        first = faults[0] if faults else f"{folder}: no speaker is left"
        raise UserError(f"{first} ({len(faults)} of {len(done)} are unreadable)")
    for fault in faults[:_NAMED]:
        print(f"warning: skipped: {fault}", file=sys.stderr)
    _write_tables(folder, good)
    print(
        f"{folder}: {len({u.speaker for u in good})} speakers, {len(good)} utterances; "
        f"{len(faults)} unreadable, {len(utterances) - len(chosen)} of speakers with "
        f"fewer than {min_utterances}"
    )


def _write_tables(folder: Path, utterances: Sequence[Utterance]) -> None:
    owner = {u.uid: u.speaker for u in utterances}
    write_table(folder / "wav.scp", {u.uid: u.path for u in utterances})
    write_table(folder / "utt2spk", owner)
    write_spk2utt(folder / "spk2utt", owner)
    for name, table in (
        ("spk2gender", {u.speaker: u.gender for u in utterances if u.gender}),
        ("text", {u.uid: u.text for u in utterances if u.text}),
    ):
        if table:
            write_table(folder / name, table)


def _converted(utterance: Utterance, audio: Path) -> Utterance | str:
    """The utterance with a 16 kHz mono file, or what is wrong with its own."""
    import soundfile

    target = audio / utterance.speaker / f"{utterance.uid}.flac"
    try:
        info = soundfile.info(str(utterance.path))
        if (info.samplerate, info.channels) == (SAMPLE_RATE, 1):
            return replace(utterance, path=utterance.path.resolve())
        if not target.is_file():
            samples, rate = soundfile.read(utterance.path, always_2d=True)
            _write_flac(target, resampled(samples.mean(1), rate))
    except (soundfile.LibsndfileError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:  # the disk is full
            raise
        reason = str(error).rstrip(".").splitlines()[-1]
        return f"{utterance.path}: not a readable audio file ({reason})"
    return replace(utterance, path=target.resolve())


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples (N,) at ``rate`` as (M,) at 16 kHz, lowered if they would clip."""
    if rate != SAMPLE_RATE:
        import soxr

        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * (0.99 / peak) if peak > 0.99 else samples


def _write_flac(path: Path, samples: np.ndarray) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        soundfile.write(temporary, samples, SAMPLE_RATE, "PCM_16", format="FLAC")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
