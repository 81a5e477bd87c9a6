"""Print what a run trains, rates and blends, as assignments for pse.sh.

Each value is a list whose items are separated by spaces.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from espnet_pse_kd.errors import UserError, one_line
from espnet_pse_kd.recipe.scope import Run, Scoring, scoring, with_best

_LISTS = [field.name for field in fields(Scoring)]


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add(
        "--methods",
        type=str.split,
        required=True,
        help="what --methods of run.sh names",
    )
    add("--best", required=True, help="the method that is called best")
    add("--seeds", required=True, help="training seeds")
    add("--test_sets", type=str.split, required=True, help="the scored sets")
    add("--expdir", type=Path, required=True, help="folder of the trainings")
    add("--download_model", default="", help="a shared model takes their place")
    for name in _LISTS:
        add(f"--{name}", default="", help="see run.sh --help")
        add(f"--preset_{name}", default="", help="what the preset says of it")
    return parser


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers from 0, separated by spaces.

    Raises:
        UserError: something else.
    """
    for word in text.split():
        if not (word.isascii() and word.isdigit()):
            raise UserError(f"--{option} {word}: give numbers")
    return [int(word) for word in text.split()]


def _scoring(args: argparse.Namespace, prefix: str = "") -> Scoring:
    """The three lists among the options whose names begin with ``prefix``."""
    methods, seeds, blended = (getattr(args, prefix + name) for name in _LISTS)
    return Scoring(
        with_best(methods.split(), args.best),
        numbers("dnsmos_seeds", seeds),
        with_best(blended.split(), args.best),
    )


@one_line
def main(argv: Sequence[str] | None = None) -> None:
    """Print the assignments for ``argv``, default the command line's."""
    args = get_parser().parse_args(argv)
    run = Run(
        with_best(args.methods, args.best),
        numbers("seeds", args.seeds),
        args.test_sets,
        args.expdir,
        bool(args.download_model),
    )
    chosen = scoring(run, _scoring(args), _scoring(args, "preset_"))
    lists = {"methods": run.methods, "seeds": run.seeds}
    for name, items in (lists | vars(chosen)).items():
        print(f"{name}={shlex.quote(' '.join(map(str, items)))}")


if __name__ == "__main__":
    main()
