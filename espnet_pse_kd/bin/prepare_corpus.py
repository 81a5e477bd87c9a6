"""Stage 1: write the corpus inventory (speech, noises, rooms; train, dev, test)."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.corpora.espeak import prepare_espeak
from espnet_pse_kd.corpora.inventory import SPLITS
from espnet_pse_kd.corpora.librispeech import prepare_librispeech
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.simulation.rooms import write_rooms


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--corpus", required=True, choices=["espeak", "librispeech"], help="corpus")
    add("--data_dir", type=Path, default=Path("data"), help="folder to write to")
    add("--seed", type=int, default=0, help="of splits, rooms and synthesis")
    add("--nj", type=int, default=2, help="processes")
    add(
        "--rooms",
        type=int,
        nargs=3,
        default=(300, 30, 60),
        metavar=("TRAIN", "DEV", "TEST"),
        help="simulated rooms per split; 0 0 0 for measured rooms only",
    )
    add = parser.add_argument_group("--corpus espeak").add_argument
    add("--voices", type=int, default=203, help="voices, of all splits together")
    add("--utterances", type=int, default=10, help="utterances per voice")
    add(
        "--noises",
        type=int,
        nargs=3,
        default=(60, 20, 40),
        metavar=("TRAIN", "DEV", "TEST"),
        help="noise recordings per split",
    )
    add("--noise_seconds", type=float, default=20.0, help="length of a noise recording")
    libri = parser.add_argument_group("--corpus librispeech")
    add = libri.add_argument
    add("--librispeech", type=Path, help="folder that holds the subsets")
    add("--noise", type=Path, help="folder of noise recordings")
    add("--rir", type=Path, help="folder of measured mono room responses")
    add("--train_subsets", nargs="+", default=["train*"], help="name patterns")
    add(
        "--dev_subsets",
        nargs="+",
        default=["dev*"],
        help="name patterns; no match: speakers held out of the training subsets",
    )
    add("--test_subsets", nargs="+", default=["test*"], help="name patterns")
    add("--dev_speakers", type=int, default=10, help="speakers to hold out")
    add(
        "--min_noise_seconds", type=float, default=1.0, help="shorter ones are left out"
    )
    add(
        "--check",
        choices=["full", "headers"],
        default="full",
        help="decode every file, or read the headers only",
    )
    return parser


def _prepare_librispeech(args: argparse.Namespace) -> None:
    for name in ("librispeech", "noise"):
        if getattr(args, name) is None:
            raise UserError(
                f"--{name}: missing; --corpus librispeech needs --librispeech DIR "
                "and --noise DIR"
            )
    prepare_librispeech(
        args.data_dir,
        args.librispeech,
        args.noise,
        rir=args.rir,
        train_subsets=args.train_subsets,
        dev_subsets=args.dev_subsets,
        test_subsets=args.test_subsets,
        dev_speakers=args.dev_speakers,
        min_noise_seconds=args.min_noise_seconds,
        simulated_dev_rooms=args.rooms[SPLITS.index("dev")] > 0,
        full_check=args.check == "full",
        seed=args.seed,
        nj=args.nj,
    )


def _prepare_espeak(args: argparse.Namespace) -> None:
    for name in ("librispeech", "noise", "rir"):
        if getattr(args, name) is not None:
            raise UserError(
                f"--{name}: --corpus espeak makes its own; leave it out, or give "
                "--corpus librispeech"
            )
    prepare_espeak(
        args.data_dir,
        voices=args.voices,
        utterances=args.utterances,
        noises=tuple(args.noises),
        noise_seconds=args.noise_seconds,
        seed=args.seed,
        nj=args.nj,
    )


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    if args.rir is None and min(args.rooms) < 1:
        rooms = " ".join(map(str, args.rooms))
        raise UserError(f"--rooms {rooms}: no rooms; raise it or give --rir DIR")
    if args.corpus == "espeak":
        _prepare_espeak(args)
    else:
        _prepare_librispeech(args)
    for split, count in zip(SPLITS, args.rooms):
        write_rooms(args.data_dir / split / "rir", split, count, args.seed, args.nj)


if __name__ == "__main__":
    main()
