"""Check simulated sets: same keys, audio readable and equally long, labels sane."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from espnet_pse_kd.errors import one_line
from espnet_pse_kd.simulation.validation import validate_set


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folders", type=Path, nargs="+", help="folders of sets: dump/raw/SET ..."
    )
    parser.add_argument("--nj", type=int, default=2, help="processes (default: 2)")
    return parser


@one_line
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(arguments)
    for folder in args.folders:
        count = validate_set(folder.absolute(), args.nj)
        print(f"{folder}: {count} samples, valid", file=sys.stderr)


if __name__ == "__main__":
    main()
