"""``pse-kd recipe``: the training recipe as a folder of one's own."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
from pathlib import Path

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.recipe.template import PYTHON, copy_files, recipe_files

DESCRIPTION = (
    "Write the training recipe (run.sh, pse.sh, conf/, local/, utils/) to a folder, "
    "ready to run there; also below ESPnet, as espnet/egs2/CORPUS/pse1. Nothing that "
    "exists is overwritten. Running it needs the extra [recipe]."
)
_NEEDED = ("torch", "espnet2", "pyroomacoustics")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write")


def run(args: argparse.Namespace) -> None:
    """Run the subcommand.

    Raises:
        UserError: something else lies where a file is to be written, or the package
            came without the recipe.
    """
    folder, files = args.folder, recipe_files()
    if not files:
        raise UserError(f"{folder}: this package has no recipe; {how_to_install()}")
    there = {name for name, path in files.items() if is_there(path, folder, name)}
    new = {name: path for name, path in files.items() if name not in there}
    copy_files(new, folder)
    (folder / PYTHON).write_text(f"{sys.executable}\n", encoding="utf-8")
    print(f"{folder}: {len(new)} files written, {len(there)} were there")
    missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
    if missing:
        print(f"not installed: {', '.join(missing)}; {how_to_install('recipe')}")
    print(f"  cd {shlex.quote(str(folder))} && ./run.sh --stage 1 --stop_stage 8")


def is_there(source: Path, folder: Path, name: str) -> bool:
    """Whether an earlier run has written a file already.

    Args:
        source: file of the package.
        folder: the written recipe.
        name: of the file in it, such as ``conf/methods.yaml``.

    Raises:
        UserError: something else is there, and would have to be replaced.
    """
    target = folder / name
    for above in target.relative_to(folder).parents:
        if (folder / above).is_symlink() and not (folder / above).is_dir():
            raise UserError(f"{folder / above}: a link that leads nowhere; remove it")
    if not os.path.lexists(target):
        return False
    if not target.is_file() or source.read_bytes() != target.read_bytes():
        raise UserError(
            f"{target}: exists and differs from the recipe's; give another folder, or "
            "move it away"
        )
    if target.samefile(source):
        raise UserError(f"{folder}: the recipe of this checkout; use it as it is")
    return True
