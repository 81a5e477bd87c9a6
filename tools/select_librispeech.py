"""Pick a corpus by lists out of LibriSpeech, and check it, its noises and its rooms."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from tools.selection import (
    check_utterances,
    missing_files,
    read_files,
    read_utterances,
    select_utterances,
)


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add(
        "--lists",
        type=Path,
        required=True,
        help="folder of utterances.tsv, noise.tsv and rooms.tsv",
    )
    add(
        "--librispeech",
        type=Path,
        nargs="+",
        help="folder(s) that hold LibriSpeech's subsets; needs --out",
    )
    add(
        "--out",
        type=Path,
        help="folder to lay LibriSpeech/ out in; needs --librispeech",
    )
    add("--check", type=Path, metavar="OUT", help="check such a folder; write nothing")
    add("--noise", type=Path, help="check a folder of noises, with train/ and test/")
    add("--rir", type=Path, help="check a folder of measured rooms, likewise")
    return parser


def _check_folder(option: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: no such folder; correct the path")


def _check_files(option: str, folder: Path, table: Path) -> None:
    _check_folder(option, folder)
    listed = read_files(table)
    missing = missing_files(listed, folder)
    for item in missing:
        print(f"missing: {item.split}/{item.file} {item.url}")
    if missing:
        raise UserError(
            f"{folder}: {len(missing)} of {len(listed)} files are missing; "
            "make them from the sources printed above"
        )
    print(f"{folder}: all {len(listed)} files of {table} are there")


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    if (args.librispeech is None) != (args.out is None):
        raise UserError("--librispeech, --out: one is missing; give both")
    if not (args.librispeech or args.check or args.noise or args.rir):
        raise UserError(
            "--librispeech: missing; give it with --out, or --check, --noise or --rir"
        )
    if args.librispeech or args.check:
        utterances = read_utterances(args.lists / "utterances.tsv")
    if args.librispeech:
        written = select_utterances(utterances, args.librispeech, args.out)
        print(f"{args.out}: {len(utterances)} utterances, {written} files written")
    if args.check:
        _check_folder("--check", args.check)
        check_utterances(utterances, args.check)
        print(f"{args.check}: exactly the {len(utterances)} listed utterances")
    if args.noise:
        _check_files("--noise", args.noise, args.lists / "noise.tsv")
    if args.rir:
        _check_files("--rir", args.rir, args.lists / "rooms.tsv")


if __name__ == "__main__":
    main()
