"""Fine-tuning of the GE2E encoder to what a gate has to judge: short, noisy mixtures.

The published encoder tells clean utterances of unseen speakers apart almost without
error, and 0.8 s of a noisy, reverberant mixture hardly. A contrastive loss (InfoNCE,
arXiv 1807.03748) between windows of mixtures in which the target speaks and enrolment
clips, each with a room, noise and channel of its own, teaches it that these do not
matter. It learns from the training set alone; every person is there with several
voices (`simulation.voices`), but two persons are never told apart by a voice alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from espnet_pse_kd.activity import activity, resample_frames
from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.enrolment_vectors import EnrolmentClips
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.runtime.framing import PARTIAL_FRAMES
from espnet_pse_kd.simulation.voices import person_of
from espnet_pse_kd.speaker.base import raise_level, trim_silence
from espnet_pse_kd.speaker.ge2e import GE2E
from espnet_pse_kd.speaker.mel import HOP, mel_power
from espnet_pse_kd.stft import HOP as LOSS_HOP
from espnet_pse_kd.utils.progress import progress

WEIGHTS = "ge2e_robust.safetensors"
_CHECKPOINT = "checkpoint.pt"
_TARGET_SHARE = 0.6
"""Least share of a window in which the target speaks, where the mixture has such."""
_MIXTURE_TABLES = ("wav.scp", "spk1.scp", "utt2spk", "utt2interf", "enroll_id")
_EVERY = 100  # steps between checkpoints, and between lines of the log


@dataclass(frozen=True)
class Options:
    """Options of a fine-tuning.

    Attributes:
        steps: number of optimizer steps. 400 of 64 persons were enough on 222 persons:
            what a window's cosine tells of unseen persons stood still from there on.
        batch: persons in a batch; each brings one window and one enrolment piece.
        lr: peak of the learning rate (30 steps of warm-up, then a cosine to zero).
        shortest, longest: length of a window, in frames of 10 ms.
        gain_db: windows get a random gain of at most this, either way.
        seed: of all draws.
    """

    steps: int = 400
    batch: int = 64
    lr: float = 3e-4
    shortest: int = 60
    longest: int = 160
    gain_db: float = 6.0
    seed: int = 0


class Pair(NamedTuple):
    """A mixture and what belongs to its target.

    Attributes:
        mixture, target: paths of the mixture and of the target's image in it.
        person: who the target is, whatever the voice.
        rival: who the interferer is; "none" without one.
        clips: paths of enrolment clips of the same voice from other recordings.
    """

    mixture: str
    target: str
    person: str
    rival: str
    clips: tuple[str, ...]


class Batch(NamedTuple):
    """B windows and enrolment pieces of B persons.

    Attributes:
        windows: (T, B, 40) mel power.
        enrolments: (160, B, 40) mel power.
        ignored: bool (B, B), pairs of window i and enrolment j where j is the rival
            that speaks in i: neither the same person nor a plain other one.
    """

    windows: Tensor
    enrolments: Tensor
    ignored: Tensor


def read_pairs(mixtures: Path, clips: Path) -> dict[str, list[Pair]]:
    """Pairs of a simulated set, by person.

    Args:
        mixtures: ``dump/raw/<set>``.
        clips: ``dump/enroll/<split>``.

    Raises:
        UserError: a table is missing, a mixture has no enrolment clip (see
            `EnrolmentClips.rows`), or there are fewer than two persons.
    """
    uids = same_keys(mixtures, _MIXTURE_TABLES)
    tables = {name: read_table(mixtures / name) for name in _MIXTURE_TABLES}
    known, wavs = EnrolmentClips.read(clips), read_table(clips / "wav.scp")
    pairs: dict[str, list[Pair]] = {}
    for uid in uids:
        rows = known.rows(tables["enroll_id"][uid])
        pair = Pair(
            tables["wav.scp"][uid],
            tables["spk1.scp"][uid],
            person_of(tables["utt2spk"][uid]),
            person_of(tables["utt2interf"][uid]),
            tuple(wavs[known.ids[row]] for row in rows),
        )
        pairs.setdefault(pair.person, []).append(pair)
    if len(pairs) < 2:
        raise UserError(
            f"{mixtures}: {len(pairs)} persons with an enrolment clip in {clips}; "
            "at least 2 are needed: run stage 2 with more speakers"
        )
    return pairs


def contrastive_loss(
    windows: Tensor, enrolments: Tensor, scale: Tensor, ignored: Tensor
) -> tuple[Tensor, Tensor]:
    """InfoNCE in both directions (arXiv 1807.03748): row i belongs to column i.

    Args:
        windows: (B, D) unit vectors of mixtures.
        enrolments: (B, D) unit vectors of enrolments.
        scale: factor of the cosines.
        ignored: bool (B, B), pairs that count for neither side; not the diagonal.

    Returns:
        mean loss, share of windows whose nearest enrolment is their own.
    """
    cosines = windows @ enrolments.T  # [B, B]
    logits = (scale * cosines).masked_fill(ignored, -1e4)
    own = torch.arange(len(logits), device=logits.device)
    rows = nn.functional.cross_entropy(logits, own)
    columns = nn.functional.cross_entropy(logits.T, own)
    found = (logits.argmax(1) == own).float().mean()
    return (rows + columns) / 2, found


class Batches:
    """Draws batches; batch ``k`` depends on the seed and ``k`` alone.

    Raises:
        UserError: a batch of this size needs more persons.
    """

    def __init__(self, pairs: dict[str, list[Pair]], options: Options) -> None:
        if len(pairs) < options.batch:
            raise UserError(
                f"--batch {options.batch}: there are {len(pairs)} persons only; give "
                "at most that many"
            )
        self.pairs, self.options = pairs, options
        self.persons = sorted(pairs)

    def batch(self, number: int) -> Batch:
        """Read and cut one batch."""
        generator = np.random.default_rng([self.options.seed, number])
        order = generator.permutation(len(self.persons))
        low, high = self.options.shortest, self.options.longest
        length = int(generator.integers(low, high + 1))
        pairs, windows, enrolments = [], [], []
        for index in order:
            candidates = self.pairs[self.persons[index]]
            pair = candidates[generator.integers(len(candidates))]
            window = self._window(pair, length, generator)
            if window is None:  # the target is silent in this mixture
                continue
            pairs.append(pair)
            windows.append(window)
            enrolments.append(self._enrolment(pair, generator))
            if len(pairs) == self.options.batch:
                break
        ignored = [[a.rival == b.person for b in pairs] for a in pairs]
        return Batch(
            torch.stack(windows, 1),
            torch.stack(enrolments, 1),
            torch.tensor(ignored),
        )

    def _window(
        self, pair: Pair, length: int, generator: np.random.Generator
    ) -> Tensor | None:
        """Mel power (T, 40) of a stretch in which the target speaks; None without."""
        target = torch.from_numpy(read_audio(pair.target))
        speaks = activity(target[None])  # [1, T']
        if not speaks.any():
            return None
        mixture = torch.from_numpy(read_audio(pair.mixture))
        mel = mel_power(raise_level(mixture))  # [T, M]
        mel = _at_least(mel, length)
        speaks = resample_frames(speaks.float(), LOSS_HOP, HOP, len(mel))[0]  # [T]
        share = speaks.unfold(0, length, 1).mean(-1)
        enough = min(_TARGET_SHARE, 0.95 * float(share.max()))
        starts = (share >= enough).nonzero()[:, 0]
        start = int(starts[generator.integers(len(starts))])
        gain = 10 ** (generator.uniform(-1, 1) * self.options.gain_db / 10)
        return mel[start : start + length] * gain

    def _enrolment(self, pair: Pair, generator: np.random.Generator) -> Tensor:
        """Mel power (160, 40) of a piece of an enrolment clip."""
        path = pair.clips[generator.integers(len(pair.clips))]
        wave = trim_silence(torch.from_numpy(read_audio(path)), path)
        mel = _at_least(mel_power(raise_level(wave)), PARTIAL_FRAMES)  # [T, M]
        start = int(generator.integers(len(mel) - PARTIAL_FRAMES + 1))
        return mel[start : start + PARTIAL_FRAMES]

    def stream(self, first: int, end: int) -> Iterator[Batch]:
        """Batches ``first`` to ``end - 1``, the next read while one is worked on."""
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.batch, first)
            for number in range(first, end):
                ready = waiting.result()
                if number + 1 < end:
                    waiting = pool.submit(self.batch, number + 1)
                yield ready


def _at_least(mel: Tensor, frames: int) -> Tensor:
    """Pad (T, M) with silence."""
    return nn.functional.pad(mel, (0, 0, 0, max(0, frames - len(mel))))


class FineTuning:
    """The encoder, what trains it, and where it stands.

    Args:
        options: see `Options`.
        device: where to compute.
    """

    def __init__(self, options: Options, device: str = "cpu") -> None:
        self.options = options
        self.network = GE2E().trainable().to(device)
        self.scale = nn.Parameter(torch.tensor(10.0, device=device))
        self.device = device
        self.step = 0
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.network.parameters(), "lr": options.lr},
                {"params": [self.scale], "lr": 1e-2},
            ]
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, [self._course, lambda step: 1.0]
        )

    def _course(self, step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / max(1, self.options.steps)))
        return min(1.0, (step + 1) / 30) * cosine

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of a batch, see `contrastive_loss`."""
        windows, enrolments, ignored = (x.to(self.device) for x in batch)
        return contrastive_loss(
            self.network(windows), self.network(enrolments), self.scale, ignored
        )

    def learn(self, batch: Batch) -> tuple[float, float]:
        """One optimizer step; returns loss and accuracy before it."""
        loss, found = self.loss(batch)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 3.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        return loss.item(), found.item()

    def save(self, folder: Path) -> None:
        """Write the checkpoint."""
        state = {
            "options": asdict(self.options),
            "step": self.step,
            "network": self.network.state_dict(),
            "scale": self.scale.data,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        with atomic_open(folder / _CHECKPOINT, "wb") as file:
            torch.save(state, file)

    def resume(self, folder: Path) -> None:
        """Go on from the folder's checkpoint, if there is one.

        Raises:
            UserError: it was begun with other options.
        """
        path = folder / _CHECKPOINT
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["options"] != asdict(self.options):
            raise UserError(
                f"{path}: begun with {state['options']}; give the same options, or "
                "another --output"
            )
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.scale.data = state["scale"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def finetune(
    train: Batches, valid: Batches | None, output: Path, device: str = "cpu"
) -> Path:
    """Fine-tune the published encoder; resumes.

    Args:
        train: what to learn from.
        valid: persons that are not in ``train``: their loss is logged, it decides
            nothing.
        output: folder of the checkpoint, of ``log.jsonl`` and of the weights.
        device: where to compute.

    Returns:
        path of the weights, safetensors in 16 bits under the published names.

    Raises:
        UserError: see `FineTuning.resume`.
    """
    output.mkdir(parents=True, exist_ok=True)
    tuning = FineTuning(train.options, device)
    tuning.resume(output)
    first, steps = tuning.step, train.options.steps
    recent: list[tuple[float, float]] = []
    batches = train.stream(first, steps)
    for batch in progress(batches, steps - first, "speaker encoder"):
        recent.append(tuning.learn(batch))
        if tuning.step % _EVERY == 0 or tuning.step == steps:
            tuning.save(output)
            _log(output, tuning, recent, valid)
            recent = []
    with atomic_open(output / WEIGHTS, "wb") as file:
        file.write(tuning.network.published_bytes())
    return output / WEIGHTS


def _log(
    output: Path,
    tuning: FineTuning,
    recent: Sequence[tuple[float, float]],
    valid: Batches | None,
) -> None:
    """Append a line of mean figures to ``log.jsonl``."""
    loss, found = np.mean(recent, 0)
    line = {
        "step": tuning.step,
        "loss": round(float(loss), 4),
        "accuracy": round(float(found), 4),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    if valid is not None:
        with torch.no_grad():
            figures = [tuning.loss(valid.batch(number)) for number in range(8)]
        loss, found = (torch.stack(one).mean().item() for one in zip(*figures))
        line |= {"valid_loss": round(loss, 4), "valid_accuracy": round(found, 4)}
    print(json.dumps(line), flush=True)
    with open(output / "log.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
