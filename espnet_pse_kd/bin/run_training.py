"""Run a training command, showing its progress and recording it in ``run.json``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from espnet_pse_kd import __version__
from espnet_pse_kd.errors import one_line
from espnet_pse_kd.recipe import jobs


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exp", type=Path, required=True, help="training folder")
    parser.add_argument("--log", type=Path, help="default: EXP/train.log")
    parser.add_argument("--seed", type=int, help="recorded in run.json")
    parser.add_argument("command", nargs="+", help="after --: what writes the log")
    return parser


def git_commit() -> str | None:
    """Commit of the checkout that this runs from; None outside of one."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip() or None


@one_line
def main(argv: list[str] | None = None) -> None:
    args = get_parser().parse_args(argv)
    log = args.log or args.exp / "train.log"
    record = {"seed": args.seed, "version": __version__, "commit": git_commit()}
    sys.exit(jobs.run(args.exp, log, args.command, record))


if __name__ == "__main__":
    main()
