"""What a training's options must be, checked before anything is built."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.mixing import dynamic_mixing
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.simulation.dynamic import MixtureDataset
from espnet_pse_kd.utils.yamls import read_yaml


def data_names(args: argparse.Namespace, split: str) -> dict[str, str]:
    """Path of each data name of a split."""
    triples = getattr(args, f"{split}_data_path_and_name_and_type")
    return {name: path for path, name, _ in triples}


def read_splits(args: argparse.Namespace) -> tuple[str, ...]:
    """Splits whose samples lie on disk."""
    return ("valid",) if dynamic_mixing(args) else ("train", "valid")


def require(
    args: argparse.Namespace,
    name: str,
    reader: str,
    splits: tuple[str, ...] = ("train", "valid"),
) -> None:
    """Raise `UserError` where a split lacks the data ``name`` that ``reader`` needs."""
    for split in splits:
        if split == "train" and dynamic_mixing(args):
            if name == "window_vectors":
                raise UserError(
                    f"--dynamic_mixing: {reader} needs window vectors, which are "
                    "cached for a fixed training set; leave it empty"
                )
            continue
        if name not in data_names(args, split):
            raise UserError(
                f"--{split}_data_path_and_name_and_type: no {name!r}, which "
                f"{reader} needs; add it"
            )


def check_iterators(args: argparse.Namespace) -> None:
    """Refuse iterators that would not know the epoch, and other rates."""
    kinds = {args.iterator_type, args.valid_iterator_type} - {None}
    if kinds != {"sequence"} or args.multiple_iterator:
        raise UserError(
            f"--iterator_type: {', '.join(sorted(kinds))}; window vectors and "
            "enrolment draws need 'iterator_type: sequence'"
        )
    if args.collect_stats:
        raise UserError(
            "--collect_stats: nothing is to be collected; give utt2num_samples as "
            "--train_shape_file and --valid_shape_file"
        )
    if args.sample_rate != SAMPLE_RATE:
        raise UserError(
            f"--sample_rate: {args.sample_rate}; the networks work at {SAMPLE_RATE}"
        )


def check_devices(args: argparse.Namespace) -> None:
    """Refuse several GPUs in one process: the teacher would be left behind."""
    if args.ngpu > 1 and not args.multiprocessing_distributed:
        raise UserError(
            f"--ngpu {args.ngpu}: one process per GPU is needed; add "
            "--multiprocessing_distributed true"
        )


_IDENTITY = (
    "seed",
    "dynamic_mixing",
    "train_data_path_and_name_and_type",
    "train_shape_file",
    "train_enroll_vectors",
)
"""Options that say what a training learns from."""


def check_resumption(args: argparse.Namespace) -> None:
    """Refuse to go on with another seed or other data than a training began with."""
    folder = Path(args.output_dir)
    begun = [folder / name for name in ("checkpoint.pth", "config.yaml")]
    if not args.resume or not all(path.is_file() for path in begun):
        return
    before = read_yaml(begun[1])
    for option in _IDENTITY:
        # As YAML keeps it: without tuples.
        now = json.loads(json.dumps(getattr(args, option)))
        if before.get(option) != now:
            raise UserError(
                f"--{option}: {str(now)[:60]}, but {folder} was begun with "
                f"{str(before.get(option))[:60]}; give that, or another --output_dir"
            )


def check_data(args: argparse.Namespace) -> None:
    """Check what can be checked without reading every file."""
    for option in ("train_enroll_vectors", "valid_enroll_vectors"):
        if getattr(args, option) is None:
            raise UserError(f"--{option}: empty; give the vectors.npz of stage 3")
    dynamic = dynamic_mixing(args)
    if dynamic is not None:
        MixtureDataset(dynamic, EnrolmentVectors.load(args.train_enroll_vectors))
    for split in read_splits(args):
        paths = data_names(args, split)
        for name in ("speech_mix", "speech_ref1", "enroll_ref1"):
            require(args, name, "the training", (split,))
        option = f"{split}_enroll_vectors"
        entries = read_table(paths["enroll_ref1"])
        EnrolmentVectors.load(getattr(args, option)).check(entries.values())
        _check_rate(read_table(paths["speech_mix"]))
        cached = args.max_cache_size if split == "train" else args.valid_max_cache_size
        if cached and any(entry.startswith("*") for entry in entries.values()):
            raise UserError(
                f"--max_cache_size: {cached}; ESPnet's cache would freeze the drawn "
                "enrolments, write 0"
            )


def _check_rate(scp: Mapping[str, str]) -> None:
    """Read the header of the first file of a table."""
    import soundfile

    path = next(iter(scp.values()))
    try:
        rate = soundfile.info(path).samplerate
    except (soundfile.LibsndfileError, RuntimeError):
        raise UserError(f"{path}: unreadable; run stage 2 again") from None
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{path}: {rate} Hz; the networks work at {SAMPLE_RATE} Hz, run stage 2 "
            "again"
        )
