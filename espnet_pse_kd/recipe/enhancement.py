"""Simulated sets, enhanced with a trained student; what is there already is kept."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio, write_audio
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, fingerprint, read_json
from espnet_pse_kd.kaldi import read_table, same_keys, write_table
from espnet_pse_kd.utils.progress import progress
from espnet_pse_kd.utils.share import WHOLE, Share

if TYPE_CHECKING:
    from espnet2.enh.espnet_model_tse import ESPnetExtractionModel

STAMP = "enhanced.json"
"""File of EXP/enhanced_SET with the digest of what its outputs were made from."""


class Job(NamedTuple):
    """One mixture to enhance.

    Attributes:
        mixture: its path.
        vector: (D,) vector of its enrolment.
        output: path to write.
    """

    mixture: Path
    vector: np.ndarray
    output: Path


def plan(dump_dir: Path, name: str, folder: Path) -> dict[str, Job]:
    """What is to be done for one set, by key.

    Raises:
        UserError: the set, its enrolment clips or their vectors are missing, or an
            enrolment is left open.
    """
    data = dump_dir / "raw" / name
    same_keys(data, ("wav.scp", "enroll_id"))
    mixtures, clips = read_table(data / "wav.scp"), read_table(data / "enroll_id")
    vectors = EnrolmentVectors.load(_vectors(dump_dir, name))
    jobs = {}
    for uid, clip in clips.items():
        rows = vectors.rows(clip)
        if clip.startswith("*"):
            raise UserError(
                f"{data / 'enroll_id'}: {uid} leaves its clip open ({clip!r}); enhance "
                "development or test sets"
            )
        output = folder / "wav" / f"{uid}.wav"
        jobs[uid] = Job(Path(mixtures[uid]), vectors.vectors[rows[0]], output)
    return jobs


def plan_training(
    exp: Path, model_file: str, dump_dir: Path, names: Sequence[str]
) -> dict[str, dict[str, Job]]:
    """What is to be done with one training, by set and key.

    Raises:
        UserError: it is not finished, or as `plan`.
    """
    for path in (exp / "config.yaml", exp / model_file):
        if not path.is_file():
            raise UserError(f"{path}: no such file; train the student (stage 5)")
    return {name: plan(dump_dir, name, exp / f"enhanced_{name}") for name in names}


def _vectors(dump_dir: Path, name: str) -> Path:
    """Vectors of the enrolment clips that a set names."""
    return dump_dir / "enroll" / name.partition("_")[0] / "vectors.npz"


def _newest_vector(dump_dir: Path, name: str) -> Path:
    """The file that tells when a set's vectors changed last.

    That of a single clip, or the table where there are none: stage 3 writes the table
    anew at every run.
    """
    table = _vectors(dump_dir, name)
    clips = (table.parent / "vectors").glob("*.npy")
    return max(clips, key=lambda path: path.stat().st_mtime_ns, default=table)


def claim(folder: Path, digest: str, jobs: Sequence[Job], older: list[Path]) -> None:
    """Make a set's folder that of one model: outputs of another are removed.

    Outputs without a stamp, from before there were any, are taken over as they are if
    all are there and none is older than what it was made from.

    Args:
        folder: ``enhanced_SET``, which gets the stamp.
        digest: of all that the outputs depend on.
        jobs: all of the set.
        older: files that no unstamped output may be older than.

    Raises:
        UserError: a mixture is missing.
    """
    stamp = folder / STAMP
    found = read_json(stamp).get("inputs")
    if found == digest:
        return
    if found is not None or not all(is_done(job, older) for job in jobs):
        # Until they are gone the other model's stamp stays: whatever an interruption
        # leaves behind is never taken for this model's.
        for job in jobs:
            job.output.unlink(missing_ok=True)
    with atomic_open(stamp) as file:
        json.dump({"inputs": digest}, file)


def is_done(job: Job, inputs: list[Path]) -> bool:
    """Whether a job's output is there, no older than ``inputs`` and its mixture."""
    if not job.mixture.is_file():
        raise UserError(f"{job.mixture}: no such audio file; run stage 2 again")
    if not job.output.is_file():
        return False
    newest = max(path.stat().st_mtime_ns for path in [*inputs, job.mixture])
    return job.output.stat().st_mtime_ns >= newest


def enhance(
    model: ESPnetExtractionModel, mixture: np.ndarray, vector: np.ndarray
) -> np.ndarray:
    """Enhance one mixture: (N,), (D,) -> float32 (N,), at the level of the mixture."""
    import torch

    device = next(model.parameters()).device
    with torch.inference_mode():
        signal = torch.from_numpy(mixture)[None].to(device)  # [1, N]
        speaker = torch.from_numpy(vector)[None, None].to(device)  # [1, 1, D]
        length = torch.tensor([signal.shape[1]], device=device)
        one = torch.ones_like(length)
        estimates, *_ = model.forward_enhance(signal, length, [speaker], [one])
    return estimates[0][0].cpu().numpy()


def run(
    model: ESPnetExtractionModel, jobs: list[Job], label: str
) -> Iterator[tuple[float, float]]:
    """Do the jobs; yields the seconds of computing and of audio of each."""
    for job in progress(jobs, len(jobs), label):
        mixture = read_audio(job.mixture)
        start = time.perf_counter()
        estimate = enhance(model, mixture, job.vector)
        yield time.perf_counter() - start, len(mixture) / SAMPLE_RATE
        write_audio(job.output, estimate, "FLOAT")


def enhance_sets(
    exp: Path,
    model_file: Path,
    plans: dict[str, dict[str, Job]],
    dump_dir: Path,
    device: str = "cpu",
    share: Share = WHOLE,
) -> None:
    """Enhance every set with one student, and write the tables.

    Args:
        exp: folder of the training.
        model_file: its checkpoint.
        plans: see `plan_training`.
        dump_dir: holds ``raw/`` and ``enroll/``.
        device: of torch.
        share: part of the mixtures; the tables are written with the whole only.

    Raises:
        UserError: the model cannot be loaded, or a mixture is missing.
    """
    from espnet_pse_kd.espnet.loading import load_student

    own = [model_file, exp / "config.yaml"]
    model = load_student(exp / "config.yaml", model_file, device)
    for name, jobs in plans.items():
        voices = [_vectors(dump_dir, name), dump_dir / "raw" / name / "enroll_id"]
        claim(
            exp / f"enhanced_{name}",
            fingerprint([*own, *voices], {}),
            list(jobs.values()),
            [*own, _newest_vector(dump_dir, name)],
        )
        todo = [job for job in share.of([*jobs.values()]) if not is_done(job, [])]
        times = list(run(model, todo, f"enhancing {name} with {exp.name}"))
        if times:
            spent, audio = np.sum(times, axis=0)
            print(f"{exp.name}: {name}: {len(todo)} files, RTF {spent / audio:.3f}")
        if not share.is_whole:
            continue
        table = {uid: job.output for uid, job in jobs.items()}
        write_table(exp / f"enhanced_{name}" / "spk1.scp", table)
