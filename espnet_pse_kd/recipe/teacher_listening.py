"""What a trained personal VAD says of simulated sets, and what a gate makes of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors, sample_generator
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.kaldi import read_table, same_keys
from espnet_pse_kd.recipe.gate_constant import counts, key_of, kinds
from espnet_pse_kd.recipe.teacher_scoring import Utterance
from espnet_pse_kd.utils.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel

TABLES = ("wav.scp", "spk1.scp", "interf1.scp", "enroll_id", "utt2scenario")
"""What a set must have."""
_WINDOWS = "window_vectors.scp"


class Heard(NamedTuple):
    """One sample and what the teacher says about it, as a batch of one.

    Attributes:
        uid: its key.
        scenario: ``ts0`` .. ``ts3`` or ``partial``.
        target: (1, N)
        interferer: (1, N)
        posterior: (1, T, 3) at the teacher's frames.
    """

    uid: str
    scenario: str
    target: Tensor
    interferer: Tensor
    posterior: Tensor


def listen(
    teacher: ESPnetPVADModel,
    dump_dir: Path,
    name: str,
    uids: Collection[str] | None = None,
) -> Iterator[Heard]:
    """Run the teacher over a set, or over some of its samples.

    Args:
        teacher: a trained personal VAD.
        dump_dir: holds ``raw/`` and ``enroll/``.
        name: folder of ``raw/``.
        uids: keys of the samples, default all.

    Raises:
        UserError: a table or file is missing.
    """
    import torch

    folder = dump_dir / "raw" / name
    tables = (*TABLES, *([_WINDOWS] if teacher.uses_window_vectors else []))
    keys = same_keys(folder, tables)
    if uids is not None:
        keys = [key for key in keys if key in uids]
    rows = {table: read_table(folder / table) for table in tables}
    split = name.partition("_")[0]
    vectors = EnrolmentVectors.load(dump_dir / "enroll" / split / "vectors.npz")
    for uid in progress(keys, len(keys), f"teacher on {name}"):
        mixture, target, interferer = (
            torch.from_numpy(read_audio(rows[table][uid]))[None]
            for table in ("wav.scp", "spk1.scp", "interf1.scp")
        )  # [1, N]
        generator = sample_generator(0, 0, uid)
        enrolment = vectors.vector(rows["enroll_id"][uid], generator)
        windows = None
        if teacher.uses_window_vectors:
            array = np.load(rows[_WINDOWS][uid]).astype(np.float32)
            windows = torch.from_numpy(array)[None]  # [1, K, D]
        posterior = teacher.posterior(
            mixture, torch.from_numpy(enrolment)[None], windows
        )
        yield Heard(uid, rows["utt2scenario"][uid], target, interferer, posterior)


def spread(keys: Sequence[str], most: int) -> list[str]:
    """At most ``most`` keys, evenly spread."""
    places = np.linspace(0, len(keys) - 1, min(most, len(keys)))
    return [keys[i] for i in places.round().astype(int)]


def utterances(teacher: ESPnetPVADModel, heard: Iterator[Heard]) -> Iterator[Utterance]:
    """Posteriors with the labels of their frames."""
    import torch

    for one in heard:
        length = torch.tensor([one.target.shape[1]])
        label = teacher.labels(one.target, one.interferer, length)
        yield Utterance(
            one.uid, one.scenario, one.posterior[0].numpy(), label[0].numpy()
        )


def gate_statistics(
    teacher: ESPnetPVADModel, heard: Iterator[Heard], kappa: float
) -> dict[str, Any]:
    """What the soft gate does, pooled over all frames.

    Returns:
        ``kappa``; ``frames``; ``gated``: share of frames to which it applies;
        ``mean_weight``: their mean weight; ``closed``: share of those with a weight
        below 0.5; ``posteriors``: counts for `gate_constant`, by frames and scope.

    Raises:
        UserError: the gate applies to no frame.
    """
    from espnet_pse_kd.activity import TSS, activity, resample_frames, widen
    from espnet_pse_kd.gate import Gate
    from espnet_pse_kd.stft import HOP

    gates = {key_of(*kind): Gate(frames=kind[0], scope=kind[1]) for kind in kinds()}
    posteriors: dict[str, list[np.ndarray]] = {key: [] for key in gates}
    frames = 0
    for one in heard:
        speaks, disturbs = widen(activity(one.target)), widen(activity(one.interferer))
        posterior = resample_frames(one.posterior, teacher.hop, HOP, speaks.shape[1])
        frames += speaks.numel()
        for key, gate in gates.items():
            gated = gate.gated_frames(speaks, disturbs)
            posteriors[key].append(posterior[..., TSS][gated].numpy())
    joined = {key: np.concatenate(parts) for key, parts in posteriors.items()}
    default = Gate()
    weights = (1 - joined[key_of(default.frames, default.scope)]) ** kappa
    if not len(weights):
        raise UserError(
            "--train_set: in no frame does the interferer speak alone; simulate "
            "inactive-target samples"
        )
    return {
        "kappa": kappa,
        "frames": frames,
        "gated": len(weights) / frames,
        "mean_weight": float(weights.mean()),
        "closed": float((weights < 0.5).mean()),
        "posteriors": {key: counts(values) for key, values in joined.items()},
    }


def write_gate_statistics(
    teacher: ESPnetPVADModel,
    dump_dir: Path,
    train_set: str,
    samples: int,
    kappa: float,
    output: Path,
) -> dict[str, Any]:
    """Write `gate_statistics` of evenly spread training samples, as JSON.

    Args:
        teacher: a trained personal VAD.
        dump_dir: holds ``raw/`` and ``enroll/``.
        train_set: folder of ``raw/``.
        samples: how many at most.
        kappa: exponent of the soft gate.
        output: file to write.

    Raises:
        UserError: a table or file is missing, or the gate applies to no frame.
    """
    keys = list(read_table(dump_dir / "raw" / train_set / "wav.scp"))
    heard = listen(teacher, dump_dir, train_set, spread(keys, samples))
    statistics = gate_statistics(teacher, heard, kappa)
    with atomic_open(output) as file:
        json.dump(statistics, file)
    return statistics


class TrainedTeacher:
    """The personal VAD of a folder, as the report asks it (`report.gallery.Teacher`).

    Args:
        folder: ``exp/pvad_*``.
        dump_dir: holds ``raw/`` and ``enroll/``.
    """

    def __init__(self, folder: Path, dump_dir: Path) -> None:
        from espnet_pse_kd.espnet.tasks import load_teacher
        from espnet_pse_kd.recipe.training import TEACHER_MODEL

        self.dump_dir = dump_dir
        self.model = load_teacher(folder / "config.yaml", folder / TEACHER_MODEL)

    def __call__(self, test_set: str, uids: Collection[str]) -> dict[str, np.ndarray]:
        """Posteriors (T, 3) at the loss frames, by uid."""
        from espnet_pse_kd.activity import resample_frames
        from espnet_pse_kd.stft import HOP, num_frames

        return {
            one.uid: resample_frames(
                one.posterior, self.model.hop, HOP, num_frames(one.target.shape[1])
            )[0].numpy()
            for one in listen(self.model, self.dump_dir, test_set, uids)
        }
