"""Start from a shared model: make an experiment's folder of what others trained.

Prints the folder, on which stages 6 to 8 work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from espnet_pse_kd.errors import one_line


def get_parser() -> argparse.ArgumentParser:
    """Parser of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("model", help="tag of the model zoo, Hugging Face repository, URL, zip, folder")
    add("--expdir", type=Path, default=Path("exp"), help="experiments")
    add("--model_file", default="valid.loss.best.pth", help="checkpoint's name there")
    add("--check", action="store_true", help="only print the folder")
    return parser


@one_line
def main(argv: list[str] | None = None) -> None:
    """Run the command."""
    args = get_parser().parse_args(argv)
    from espnet_pse_kd.recipe.zoo import fetch_student, folder_of_shared

    if args.check:
        print(folder_of_shared(args.model, args.expdir))
    else:
        print(fetch_student(args.model, args.expdir, args.model_file))


if __name__ == "__main__":
    main()
