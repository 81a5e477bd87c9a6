"""Score a trained personal VAD before it teaches.

Writes EXP/teacher_scores.json (average precision, AUC and calibration per scenario of
the given sets) and EXP/gate.json (what the soft gate would do to the training set).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from espnet_pse_kd.audio import read_audio
from espnet_pse_kd.enrolment import EnrolmentVectors, sample_generator
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.kaldi import atomic_open, read_table, same_keys
from espnet_pse_kd.progress import progress
from espnet_pse_kd.recipe.score_teacher import Utterance, score_teacher

if TYPE_CHECKING:
    from torch import Tensor

    from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel

_TABLES = ("wav.scp", "spk1.scp", "interf1.scp", "enroll_id", "utt2scenario")
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


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--exp", type=Path, required=True, help="folder of the personal VAD")
    add("--sets", nargs="+", required=True, help="scored sets in DUMP_DIR/raw")
    add("--train_set", help="training set in DUMP_DIR/raw, for gate.json")
    add("--train_samples", type=int, default=1000, help="how many of it, evenly spread")
    add("--kappa", type=float, default=1.0, help="exponent of the soft gate")
    add("--dump_dir", type=Path, default=Path("dump"), help="written by stages 2, 3")
    add("--model_file", default="valid.loss.best.pth", help="file in EXP")
    add("--output", default="teacher_scores.json", help="file in EXP to write")
    return parser


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
    tables = (*_TABLES, *([_WINDOWS] if teacher.uses_window_vectors else []))
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
) -> dict[str, float | int]:
    """What the soft gate does, pooled over all frames.

    Returns:
        ``kappa``; ``frames``; ``gated``: share of frames to which it applies;
        ``mean_weight``: their mean weight (the constant of the control without
        timing); ``closed``: share of those with a weight below 0.5.

    Raises:
        UserError: the gate applies to no frame.
    """
    from espnet_pse_kd.activity import activity, resample_frames, widen
    from espnet_pse_kd.gate import Gate
    from espnet_pse_kd.stft import HOP

    gate = Gate("soft", kappa=kappa)
    frames, weights = 0, []
    for one in heard:
        speaks, disturbs = widen(activity(one.target)), widen(activity(one.interferer))
        posterior = resample_frames(one.posterior, teacher.hop, HOP, speaks.shape[1])
        output = gate(speaks, disturbs, posterior)
        frames += output.gated.numel()
        weights.append(output.weights[output.gated].numpy())
    gated = np.concatenate(weights)
    if not len(gated):
        raise UserError(
            "--train_set: in no frame does the interferer speak alone; simulate "
            "inactive-target samples"
        )
    return {
        "kappa": kappa,
        "frames": frames,
        "gated": len(gated) / frames,
        "mean_weight": float(gated.mean()),
        "closed": float((gated < 0.5).mean()),
    }


@one_line
def main(argv: list[str] | None = None) -> None:
    """Score what ``argv`` names, default the command line's."""
    args = get_parser().parse_args(argv)
    names = [*args.sets, *([args.train_set] if args.train_set else [])]
    for name in names:
        same_keys(args.dump_dir / "raw" / name, _TABLES)

    from espnet_pse_kd.espnet.tasks import load_teacher

    teacher = load_teacher(args.exp / "config.yaml", args.exp / args.model_file)

    def heard_in_sets() -> Iterator[Heard]:
        for name in args.sets:
            yield from listen(teacher, args.dump_dir, name)

    score_teacher(utterances(teacher, heard_in_sets()), args.exp, name=args.output)
    if args.train_set:
        keys = list(read_table(args.dump_dir / "raw" / args.train_set / "wav.scp"))
        some = spread(keys, args.train_samples)
        heard = listen(teacher, args.dump_dir, args.train_set, some)
        statistics = gate_statistics(teacher, heard, args.kappa)
        with atomic_open(args.exp / "gate.json") as file:
            json.dump(statistics, file, indent=1)
        print(
            f"soft gate on {args.train_set}: {100 * statistics['gated']:.1f} % of the "
            f"frames, mean weight {statistics['mean_weight']:.3f}, "
            f"{100 * statistics['closed']:.1f} % of them below 0.5"
        )


if __name__ == "__main__":
    main()
