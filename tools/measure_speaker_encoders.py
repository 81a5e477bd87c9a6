#!/usr/bin/env python3
"""Equal-error rate and AUC of speaker encoders: clean, mixed, and in short windows.

python tools/measure_speaker_encoders.py --noise NOISE --encoders ge2e campp \\
    LibriSpeech/train-mini corpora/dev/speechocean762

Every segment of 3 s is mixed once: another speaker of the same corpus 5 dB below, noise
10 dB below. Windows are the first and the last seconds of these segments; there the
enrolment is 15 s long. Docs: docs/measured/speaker_encoders.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from speech_segments import Noises, Speaker, at_ratio, read_speakers

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime.default_model import ENCODERS
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.speaker import SpeakerEncoder, load_speaker_encoder
from espnet_pse_kd.utils.progress import progress

SIR_DB, SNR_DB = 5.0, 10.0
WINDOWS = (1.2, 2.0)
DRAWS = 200  # of the bootstrap over speakers


class Mixture(NamedTuple):
    """A segment and what it is mixed with, (N,) each.

    Attributes:
        speaker, rival: indices of target and interferer.
        target, interferer, noise: the parts at their levels.
    """

    speaker: int
    rival: int
    target: np.ndarray
    interferer: np.ndarray
    noise: np.ndarray


class Trials(NamedTuple):
    """Scores of one condition.

    Attributes:
        score: (N,) cosines.
        same: bool (N,), whether the voices are one.
        speaker: int (N,), whose segment it is: the unit of the bootstrap.
    """

    score: np.ndarray
    same: np.ndarray
    speaker: np.ndarray


def draw_mixtures(
    speakers: Sequence[Speaker], noises: Noises, generator: np.random.Generator
) -> list[Mixture]:
    """Mix every segment with a segment of another speaker."""
    mixtures = []
    for index, speaker in enumerate(speakers):
        others = [i for i in range(len(speakers)) if i != index]
        for target in speaker.segments:
            rival = int(generator.choice(others))
            segments = speakers[rival].segments
            interferer = segments[generator.integers(len(segments))]
            noise = noises.crop(len(target), generator)
            mixtures.append(
                Mixture(
                    index,
                    rival,
                    target,
                    at_ratio(interferer, target, SIR_DB),
                    at_ratio(noise, target, SNR_DB),
                )
            )
    return mixtures


def load(name: str) -> SpeakerEncoder | OnnxSpeakerEncoder:
    """An encoder in onnxruntime where the package has its file: that is faster."""
    light = {name: ENCODERS[name] for name in ("ge2e_robust", "campp")}
    return (
        OnnxSpeakerEncoder(light[name]) if name in light else load_speaker_encoder(name)
    )


class Vectors:
    """Vectors of all that the conditions compare.

    Args:
        name: of the encoder to measure.
        speakers: of one corpus.
        mixtures: of them.
    """

    def __init__(
        self,
        name: str,
        speakers: Sequence[Speaker],
        mixtures: Sequence[Mixture],
    ) -> None:
        self.name, self.encoder, self.mixtures = name, load(name), mixtures
        self.speaker = np.array([m.speaker for m in mixtures])
        self.rival = np.array([m.rival for m in mixtures])
        label = f"{name}, "
        self.enrolment = self._embed([s.enrolment for s in speakers], f"{label}15 s")
        self.clean = self._embed([m.target for m in mixtures], f"{label}clean")
        mixed = [m.target + m.interferer + m.noise for m in mixtures]
        self.mixed = self._embed(mixed, f"{label}mixed")

    def windows(self, parts: Sequence[str], seconds: float) -> np.ndarray:
        """Vectors (2 M, D) of the first and last seconds of the sums of ``parts``."""
        count, crops = round(seconds * SAMPLE_RATE), []
        for mixture in self.mixtures:
            wave = np.sum([getattr(mixture, part) for part in parts], 0)
            crops += [wave[:count], wave[-count:]]
        # The window in the middle of a crop is the crop; CAM++ moves any inside.
        hop = count if self.name == "campp" else round(seconds * 50) * 160
        found = [self.encoder.windows(crop.astype("f"), hop, seconds) for crop in crops]
        return np.stack([np.asarray(vectors[1]) for vectors in found])

    def _embed(self, waves: Sequence[np.ndarray], label: str) -> np.ndarray:
        found = [self.encoder.embed(w) for w in progress(waves, len(waves), label)]
        return np.stack([np.asarray(vector) for vector in found])


def conditions(found: Vectors) -> dict[str, Trials]:
    """Trials of every row of the table."""
    of, rival = found.speaker, found.rival
    pairs = np.arange(len(of))[:, None] < np.arange(len(of))
    other = ~np.eye(len(of), dtype=bool)
    same = of[:, None] == of
    absent = ~same & (of[:, None] != rival)
    present = of[:, None] == rival
    clean, mixed = found.clean, found.mixed
    rows = {
        "clean against clean": _trials(
            clean @ clean.T, same & pairs, ~same & pairs, of
        ),
        "clean against mixed, impostor absent": _trials(
            clean @ mixed.T, same & other, absent, of
        ),
        "clean against mixed, the impostor is the interferer": _trials(
            clean @ mixed.T, same & other, present, of
        ),
    }
    who = np.arange(len(found.enrolment))[:, None]
    scores = found.enrolment @ mixed.T
    own, theirs = who == of, who == rival
    rows["15 s against mixed, impostor absent"] = _trials(
        scores, own, ~own & ~theirs, of
    )
    rows["15 s against mixed, the impostor is the interferer"] = _trials(
        scores, own, theirs, of
    )
    return rows | window_conditions(found)


def window_conditions(found: Vectors) -> dict[str, Trials]:
    """Windows that hold the target against windows of the interferer alone."""
    rows = {}
    own = np.repeat(found.enrolment[found.speaker], 2, 0)  # [2 M, D]
    of = np.repeat(found.speaker, 2)
    for seconds in WINDOWS:
        for noise in ((), ("noise",)):
            without = found.windows(["interferer", *noise], seconds)
            for parts, name in (
                (["target"], "target alone"),
                (["target", "interferer"], "target over interferer"),
            ):
                with_target = found.windows([*parts, *noise], seconds)
                scores = np.concatenate(
                    [(own * with_target).sum(1), (own * without).sum(1)]
                )
                rows[f"{seconds} s, {name}{', in noise' if noise else ''}"] = Trials(
                    scores, np.repeat([True, False], len(of)), np.tile(of, 2)
                )
    return rows


def _trials(
    scores: np.ndarray, same: np.ndarray, different: np.ndarray, of: np.ndarray
) -> Trials:
    """Trials of a matrix (A, M) of scores whose columns are segments of ``of``."""
    columns = np.broadcast_to(of, scores.shape)
    used = same | different
    return Trials(scores[used], same[used], columns[used])


def rates(trials: Trials, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Equal-error rate and AUC.

    Args:
        trials: of one condition.
        weights: (S,) how often each speaker counts; None: once.
    """
    weight = np.ones(len(trials.score))
    if weights is not None:
        weight = weights[trials.speaker].astype(float)
    order = np.argsort(-trials.score, kind="stable")
    hits = np.cumsum(weight[order] * trials.same[order])
    alarms = np.cumsum(weight[order] * ~trials.same[order])
    accepted, false = hits / hits[-1], alarms / alarms[-1]
    equal = np.argmin(np.abs(1 - accepted - false))
    error = (1 - accepted[equal] + false[equal]) / 2
    area = np.sum(np.diff(false, prepend=0) * accepted)
    return float(error), float(area)


def cell(trials: Trials, speakers: int, seed: int) -> str:
    """EER in percent, and AUC with its 95 % interval over speakers."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(speakers, size=(DRAWS, speakers))
    weights = [np.bincount(draw, minlength=speakers) for draw in drawn]
    low, high = np.quantile([rates(trials, w)[1] for w in weights], [0.025, 0.975])
    error, area = rates(trials)
    return f"{100 * error:.1f} ({area:.4f} [{low:.3f}, {high:.3f}])"


def measure(folder: Path, args: argparse.Namespace) -> list[str]:
    """The table of one corpus, in Markdown."""
    generator = np.random.default_rng(args.seed)
    speakers = read_speakers(folder, args.segments, 3.0, 15.0, generator)
    mixtures = draw_mixtures(speakers, Noises(args.noise), generator)
    columns = {}
    for name in args.encoders:
        found = Vectors(name, speakers, mixtures)
        columns[name] = conditions(found)
    counts = f"{len(speakers)} speakers, {len(mixtures)} segments"
    lines = [
        f"### {folder.name}: {counts}, seed {args.seed}",
        "",
        f"| EER % (AUC [95 %]) | trials | {' | '.join(columns)} |",
        "|---" * (2 + len(columns)) + "|",
    ]
    for row, trials in next(iter(columns.values())).items():
        cells = [
            cell(column[row], len(speakers), args.seed) for column in columns.values()
        ]
        size = f"{trials.same.sum()} + {(~trials.same).sum()}"
        lines.append(f"| {row} | {size} | {' | '.join(cells)} |")
    return [*lines, ""]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("corpora", type=Path, nargs="+", help="folders CORPUS/SPEAKER/**/*.flac")
    add("--noise", type=Path, required=True, help="folder of 16 kHz noises")
    add("--encoders", nargs="+", default=["ge2e", "ge2e_robust", "campp"])
    add("--segments", type=int, default=10, help="most segments of a speaker")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for folder in args.corpora:
        print("\n".join(measure(folder, args)), flush=True)


if __name__ == "__main__":
    main()
