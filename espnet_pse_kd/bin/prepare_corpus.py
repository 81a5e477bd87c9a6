"""Stage 1: write the corpus inventory (speech, noises, rooms; train, dev, test)."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.corpora.checks import BAD_SHARE
from espnet_pse_kd.corpora.espeak import prepare_espeak
from espnet_pse_kd.corpora.inventory import SPLITS
from espnet_pse_kd.corpora.librispeech import Subsets
from espnet_pse_kd.corpora.merge import (
    KINDS,
    Corpus,
    SplitOptions,
    parse_corpus,
    read_speaker_list,
)
from espnet_pse_kd.corpora.prepare import CheckOptions, prepare_corpora
from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.simulation.rooms import write_rooms


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--corpus", required=True, choices=["espeak", *reversed(KINDS)], help="corpus")
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
    _add_recorded(parser)
    return parser


def _add_recorded(parser: argparse.ArgumentParser) -> None:
    """Options of recorded corpora."""
    group = parser.add_argument_group("--corpus librispeech, --corpus kaldi")
    add = group.add_argument
    add(
        "--corpora",
        nargs="+",
        default=[],
        metavar="[KIND:]FOLDER[:WEIGHT]",
        help="corpora to take voices from; KIND is kaldi or librispeech, by default "
        "that of --corpus; WEIGHT (1) is how often each speaker is drawn",
    )
    add("--librispeech", type=Path, help="the same as --corpora librispeech:FOLDER")
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
        "--dev_speaker_list",
        type=Path,
        help="file of speakers who are for development, whatever folder they are in",
    )
    add(
        "--replace_speakers",
        action="store_true",
        help="recordings of a later corpus replace those of speakers known from a "
        "former; development speakers keep theirs",
    )
    add(
        "--min_noise_seconds", type=float, default=1.0, help="shorter ones are left out"
    )
    add(
        "--check",
        choices=["full", "headers"],
        default="full",
        help="decode every file, or read the headers only",
    )
    add(
        "--bad_share",
        type=float,
        default=BAD_SHARE,
        help="share of unreadable files that is named and left out",
    )


def _corpora(args: argparse.Namespace) -> list[Corpus]:
    """The corpora that the options name, in order."""
    corpora = [parse_corpus(text, args.corpus) for text in args.corpora]
    if args.librispeech is not None:
        corpora.insert(0, Corpus("librispeech", args.librispeech))
    if not corpora:
        own = "librispeech" if args.corpus == "librispeech" else "corpora"
        raise UserError(
            f"--{own}: missing; --corpus {args.corpus} needs --{own} FOLDER and "
            "--noise FOLDER"
        )
    if args.noise is None:
        raise UserError("--noise: missing; give a folder of noise recordings")
    return corpora


def _prepare_real(args: argparse.Namespace) -> None:
    listed = args.dev_speaker_list
    prepare_corpora(
        args.data_dir,
        _corpora(args),
        args.noise,
        rir=args.rir,
        splits=SplitOptions(
            Subsets(args.train_subsets, args.dev_subsets, args.test_subsets),
            args.dev_speakers,
            read_speaker_list(listed) if listed else frozenset(),
            args.replace_speakers,
            args.seed,
        ),
        checks=CheckOptions(args.check == "full", args.bad_share, args.nj),
        min_noise_seconds=args.min_noise_seconds,
        simulated_dev_rooms=args.rooms[SPLITS.index("dev")] > 0,
        seed=args.seed,
    )


def _prepare_espeak(args: argparse.Namespace) -> None:
    for name in ("librispeech", "noise", "rir", "corpora"):
        if getattr(args, name):
            raise UserError(
                f"--{name}: --corpus espeak makes its own; leave it out, or give "
                "--corpus librispeech or kaldi"
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
        _prepare_real(args)
    for split, count in zip(SPLITS, args.rooms):
        write_rooms(args.data_dir / split / "rir", split, count, args.seed, args.nj)


if __name__ == "__main__":
    main()
