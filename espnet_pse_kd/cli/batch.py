"""Which recordings to enhance, and where each goes.

A path may be too long, or lie where nobody may look. That is said when the file is
opened, and keeps no other from being enhanced: paths are asked about by `os.path`,
which answers no where `pathlib` raises.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.cli.paths import same_file
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound.formats import SUFFIXES

_MAGIC = frozenset("*?[")


class Job(NamedTuple):
    """One recording to enhance.

    Attributes:
        source: recording.
        output: file to write.
    """

    source: Path
    output: Path


def names_one(inputs: Sequence[str]) -> bool:
    """Whether the command line names one file, not a folder, pattern or several."""
    first = inputs[0]
    return len(inputs) == 1 and not os.path.isdir(first) and not _is_glob(first)


def plan(inputs: Sequence[str], output: Path) -> list[Job]:
    """Find the recordings that the command line names.

    Args:
        inputs: files, folders (searched with all folders in them) and glob patterns.
        output: a file if one file is named and this has a suffix, otherwise a folder,
            in which the tree of each input folder is repeated.

    Raises:
        UserError: a folder or pattern holds no recording but results, a folder is
            input and output, or two recordings would go to the same file.
    """
    if names_one(inputs) and output.suffix and not os.path.isdir(output):
        return [Job(Path(inputs[0]), output)]
    if os.path.isfile(output):
        raise UserError(f"{output}: a file; give a folder for several recordings")
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, name in _expand(text, output):
            job = Job(source, output / name)
            other = jobs.setdefault(job.output, job)
            if not same_file(other.source, source) and other != job:
                raise UserError(
                    f"{source} and {other.source}: both would go to {job.output}; "
                    "enhance them into different folders"
                )
    return list(jobs.values())


def _is_glob(text: str) -> bool:
    return bool(_MAGIC & set(text)) and not os.path.exists(text)


def _expand(text: str, output: Path) -> list[tuple[Path, Path]]:
    """Recordings of one word of the command line, with their names in the output."""
    path = Path(text)
    if os.path.isdir(path):
        if path.resolve() == output.resolve():
            raise UserError(f"{text}: is the output as well; give another --output")
        found = _without_results(text, recordings(path), path, output)
        if found == [path]:  # it cannot be read: a name that no other result has
            return [(path, Path(*path.absolute().parts[1:]))]
        return [(file, file.relative_to(path)) for file in found]
    if _is_glob(text):
        matches = [Path(match) for match in glob.glob(text, recursive=True)]
        files = sorted(match for match in matches if _is_file(match))
        if not files:
            raise UserError(f"{text}: matches no file; correct the pattern")
        files = _without_results(text, files, _searched(path), output)
        return [(file, Path(file.name)) for file in files]
    return [(path, Path(path.name))]


def _searched(pattern: Path) -> Path:
    """The folder in which a glob pattern searches."""
    return Path(*takewhile(lambda part: not _MAGIC & set(part), pattern.parts))


def _without_results(
    text: str, files: Sequence[Path], folder: Path, output: Path
) -> list[Path]:
    """Leave out what a first run wrote, where the output lies inside the input.

    Args:
        text: the word of the command line, for the error.
        files: what was found.
        folder: where it was searched for.
        output: where results go.

    Raises:
        UserError: nothing is left.
    """
    # A path has many spellings, some of them through links.
    results = output.resolve()
    if folder.resolve() not in results.parents:
        return list(files)
    left = [f for f in files if not f.parent.resolve().is_relative_to(results)]
    if not left:
        raise UserError(
            f"{text}: all of it lies in the output {output}; give another --output"
        )
    return left


def recordings(folder: Path) -> list[Path]:
    """Recordings in a folder and all folders in it, in order of their names.

    A folder that may not be read is among them: opened as a recording it tells why, and
    what it holds is not passed over in silence.

    Raises:
        UserError: there is no such folder, or no recording in it.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; correct the path")
    unreadable: list[Path] = []

    def refused(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    found = [
        file
        for parent, _, names in os.walk(folder, onerror=refused)
        for file in (Path(parent, name) for name in names)
        if file.suffix.lower() in SUFFIXES
        and not file.name.startswith(".")
        and _is_file(file)
    ]
    found = sorted(found + unreadable)
    if not found:
        raise UserError(
            f"{folder}: no recording in it ({' '.join(sorted(SUFFIXES))}); give "
            "another folder, or name the files"
        )
    return found


def _is_file(path: Path) -> bool:
    """Whether it is a file, or nobody may look; opening it will tell."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:  # a link to nothing
        return False
    except OSError:
        return True
