"""The recipe's folder, written anywhere: what ``pse-kd recipe`` does.

A checkout keeps ``egs2_recipe``, ``conf`` and ``local`` at its top. A wheel carries the
same files in `PACKAGED`; setup.py copies them there and reads `checkout_files`, so that
this module imports nothing of the package.
"""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

PACKAGED = Path(__file__).with_name("egs2")
"""The recipe's files in a wheel; a checkout has no such folder."""
PYTHON = ".python"
"""File of a written recipe: the interpreter whose package wrote it, for path.sh."""
_SOURCES = ("egs2_recipe/*.sh", "egs2_recipe/utils/*", "conf/**/*", "local/**/*")
_LEFT_OUT = ("setup_env.sh", "__pycache__", ".*", "*~")  # the first makes a .venv


def checkout_files(top: Path) -> dict[str, Path]:
    """Files of the recipe in a checkout, by their path in a written recipe.

    Args:
        top: folder of the checkout.

    Returns:
        such as ``run.sh`` or ``conf/methods.yaml``, sorted; none where ``top`` is no
        checkout. What runs of the recipe have written there is not among them.
    """
    paths = {path for pattern in _SOURCES for path in top.glob(pattern)}
    inside = {path.relative_to(top): path for path in paths if path.is_file()}
    return {
        relative.as_posix().removeprefix("egs2_recipe/"): path
        for relative, path in sorted(inside.items())
        if not any(fnmatch(part, out) for part in relative.parts for out in _LEFT_OUT)
    }


def recipe_files() -> dict[str, Path]:
    """Files of the recipe that came with this package, as `checkout_files` has them."""
    if not PACKAGED.is_dir():
        return checkout_files(Path(__file__).resolve().parents[2])
    paths = (path for path in sorted(PACKAGED.rglob("*")) if path.is_file())
    return {path.relative_to(PACKAGED).as_posix(): path for path in paths}


def copy_files(files: dict[str, Path], folder: Path) -> list[Path]:
    """Copy files into a folder; scripts can be run there.

    Args:
        files: as of `recipe_files`.
        folder: is made if it is not there; what stands there is replaced.

    Returns:
        what was written.
    """
    written = []
    for name, source in files.items():
        target = folder / name
        part = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        if source.read_bytes().startswith(b"#!"):
            mode = part.stat().st_mode
            part.chmod(mode | (mode & 0o444) >> 2)  # run by whoever may read
        written.append(part.replace(target))
    return written
