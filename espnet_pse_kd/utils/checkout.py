"""The checkout that the package runs from, as records of a run name it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import espnet_pse_kd


def git(*arguments: str) -> str | None:
    """What a git command prints about the checkout that holds the package.

    Args:
        arguments: of git, e.g. ``rev-parse HEAD``.

    Returns:
        its output; None where there is no git, or where the package is no checkout: one
        installed below another repository is not described by that one's commit.
    """
    folder = Path(espnet_pse_kd.__file__).resolve().parents[1]
    top = _output(folder, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != folder:
        return None
    return _output(folder, *arguments)


def git_commit() -> str | None:
    """Commit of the checkout that this runs from; None outside of one."""
    return git("describe", "--always", "--dirty", "--abbrev=12")


def _output(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # git is not installed
        return None
    return result.stdout.strip() or None
