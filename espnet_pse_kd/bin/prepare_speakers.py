"""Write the Kaldi folder of a downloaded corpus, for stage 1 with --corpus kaldi."""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.corpora.checks import BAD_SHARE
from espnet_pse_kd.corpora.export import write_kaldi
from espnet_pse_kd.corpora.layouts import LAYOUTS
from espnet_pse_kd.errors import UserError, one_line


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--layout", required=True, choices=LAYOUTS, help="what the folder looks like")
    add("--source", type=Path, required=True, help="folder of the corpus")
    add("--out", type=Path, required=True, help="Kaldi folder to write")
    add(
        "--subsets",
        nargs="+",
        default=[],
        help="parts of the corpus: LibriSpeech's subsets, train and test of "
        "speechocean762, VCTK's mic1 or mic2, tables of Common Voice, speakers",
    )
    add("--min_utterances", type=int, default=1, help="leave out speakers with fewer")
    add("--bad_share", type=float, default=BAD_SHARE, help="unreadable files to skip")
    add("--nj", type=int, default=2, help="processes")
    return parser


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    if not args.source.is_dir():
        raise UserError(f"--source {args.source}: no such folder; correct the path")
    utterances = LAYOUTS[args.layout](args.source, args.subsets)
    write_kaldi(args.out, utterances, args.nj, args.bad_share, args.min_utterances)


if __name__ == "__main__":
    main()
