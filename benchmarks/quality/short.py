"""Short utterances ("yes", "stop"), alone after silence or after somebody else.

They are cut out of recordings, where a voice is active for 0.3 to 1 s between pauses.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.quality.trials import Signals, Trial, fixed_order
from espnet_pse_kd.activity import activity
from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.enrolment_quality import LEAST_SPEECH, measure
from espnet_pse_kd.stft import HOP
from espnet_pse_kd.utils.progress import progress

SHORTEST, LONGEST = 0.3, 1.0
"""Seconds of an utterance."""
PAUSE = 0.15
"""Seconds without the voice before and behind it, in the recording."""
GAP = 0.1
"""Shorter pauses are within a word."""
MARGIN = 0.05
"""Seconds that are kept on either side; the first and last 10 ms of them are faded."""
LEAD, TAIL = 3.0, 0.5
"""Seconds before and after it in a trial."""
NOISE_DB = -40.0
"""White noise throughout, below the utterance's level: nothing is digitally silent."""
BEFORE = ("silence", "another talker")
SUFFIXES = (".flac", ".wav")
_FADE = SAMPLE_RATE // 100


class Utterance(NamedTuple):
    """A short utterance inside of a recording.

    Attributes:
        path: the recording.
        start, stop: samples, margins included.
        seconds: without the margins.
    """

    path: Path
    start: int
    stop: int
    seconds: float


def trials(folders: Sequence[Path], count: int | None = None) -> list[Trial]:
    """Trials of the speakers in some folders.

    Args:
        folders: each with a folder per speaker, recordings below it at any depth, as
            LibriSpeech's subsets have.
        count: trials after silence, and as many after another talker: the first so
            many utterances in a fixed order; None for all.

    Raises:
        UserError: no such folder, too few speakers, or none that can be enrolled from
            another recording.
    """
    speakers = find_speakers(folders)
    found = [
        (speaker, utterance)
        for speaker in progress(speakers, len(speakers), "short utterances")
        for path in speakers[speaker]
        for utterance in find_utterances(path)
    ]
    ordered = fixed_order(found, lambda pair: _name(*pair))
    made: list[Trial] = []
    for speaker, utterance in ordered:
        enrolment = _enrolment(speakers[speaker], utterance.path)
        if enrolment is None:
            continue
        rivals = [s for s in speakers if s != speaker]
        rival = _draw(_name(speaker, utterance), rivals)
        other = _draw(_name(speaker, utterance), speakers[rival])
        made += [_trial(speaker, utterance, enrolment, b, other) for b in BEFORE]
        if count is not None and len(made) >= count * len(BEFORE):
            break
    if not made:
        raise UserError(
            f"{folders[0]}: no utterance of {SHORTEST} to {LONGEST} s whose speaker "
            "has another recording to enroll from; give other folders of speakers"
        )
    return sorted(made, key=lambda trial: BEFORE.index(trial.scenario))


def find_speakers(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Recordings by speaker, of two speakers or more.

    Raises:
        UserError: no such folder, or fewer speakers.
    """
    speakers: dict[str, list[Path]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; correct --speech")
        for own in sorted(path for path in folder.iterdir() if path.is_dir()):
            files = sorted(p for p in own.rglob("*") if p.suffix in SUFFIXES)
            if files:
                speakers[f"{folder.name}/{own.name}"] = files
    if len(speakers) < 2:
        raise UserError(
            f"{folders[0]}: {len(speakers)} folders of speakers with recordings; give "
            "folders of two or more, such as LibriSpeech/test-clean"
        )
    return speakers


def find_utterances(path: Path) -> list[Utterance]:
    """The short utterances of a recording."""
    wave = read_audio(path)
    found = []
    for start, stop in runs(activity(torch.from_numpy(wave)).numpy()):
        seconds = (stop - start) * HOP / SAMPLE_RATE
        if SHORTEST <= seconds <= LONGEST:
            # Frame t is centred on sample t * HOP.
            first = (start - 0.5) * HOP - MARGIN * SAMPLE_RATE
            last = (stop - 0.5) * HOP + MARGIN * SAMPLE_RATE
            bounds = max(int(first), 0), min(int(last), len(wave))
            found.append(Utterance(path, *bounds, seconds))
    return found


def runs(active: np.ndarray) -> list[tuple[int, int]]:
    """Frames [start, stop) of the runs that stand between pauses of `PAUSE`.

    What touches the beginning or the end may be cut off, and is left out.

    Args:
        active: bool (T,); inactive stretches shorter than `GAP` belong to a run.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    gap, pause = (x * SAMPLE_RATE / HOP for x in (GAP, PAUSE))
    joined: list[list[int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if joined and start - joined[-1][1] < gap:
            joined[-1][1] = stop
        else:
            joined.append([start, stop])
    bounds = [0, *(x for run in joined for x in run), len(active)]
    return [
        (start, stop)
        for k, (start, stop) in enumerate(joined)
        if start - bounds[2 * k] >= pause and bounds[2 * k + 3] - stop >= pause
    ]


def _name(speaker: str, utterance: Utterance) -> str:
    return f"{speaker}/{utterance.path.stem}@{utterance.start}"


def _draw(name: str, choices: Sequence):
    return fixed_order(choices, lambda choice: f"{name} {choice}")[0]


def _enrolment(recordings: Sequence[Path], own: Path) -> Path | None:
    """Another recording with enough speech, the longest; None if there is none."""
    others = sorted((p for p in recordings if p != own), key=_longest_first)
    for path in others:
        if _can_be_enrolled(path):
            return path
    return None


def _longest_first(path: Path) -> tuple[int, str]:
    return -path.stat().st_size, path.name


@functools.cache
def _can_be_enrolled(path: Path) -> bool:
    return measure(read_audio(path)).speech >= LEAST_SPEECH


def _trial(
    speaker: str, utterance: Utterance, enrolment: Path, before: str, other: Path
) -> Trial:
    name = _name(speaker, utterance)
    return Trial(
        uid=f"{before} {name}",
        scenario=before,
        target=speaker,
        enrolment=(enrolment,),
        read=functools.partial(read, utterance, other if before != "silence" else None),
        facts={"speech": round(utterance.seconds, 3), "enrolment": enrolment.stem},
    )


def read(utterance: Utterance, other: Path | None) -> Signals:
    """Lead, utterance and tail, with noise; ``other`` speaks in the lead, as loud."""
    own = read_audio(utterance.path)[utterance.start : utterance.stop]
    own = faded(own)
    lead, tail = round(LEAD * SAMPLE_RATE), round(TAIL * SAMPLE_RATE)
    target = np.pad(own, (lead, tail))
    rms = float(np.sqrt(np.mean(np.square(own, dtype=np.float64))))
    interferer = np.zeros_like(target)
    if other is not None:
        speech = faded(loudest(read_audio(other), lead - _FADE))
        level = float(np.sqrt(np.mean(np.square(speech, dtype=np.float64))))
        interferer[: len(speech)] = speech * np.float32(rms / max(level, 1e-9))
    noise = np.random.default_rng(utterance.start).standard_normal(len(target))
    noise *= rms * 10 ** (NOISE_DB / 20)
    return Signals(target + interferer + noise.astype(np.float32), target, interferer)


def faded(wave: np.ndarray) -> np.ndarray:
    """A copy (N,) that begins and ends softly."""
    wave = wave.copy()
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    wave[:_FADE] *= ramp
    wave[-_FADE:] *= ramp[::-1]
    return wave


def loudest(wave: np.ndarray, length: int) -> np.ndarray:
    """The stretch of ``length`` samples with the most energy, or all of it."""
    if len(wave) <= length:
        return wave
    energy = np.concatenate([[0], np.cumsum(np.square(wave, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return wave[start : start + length]
