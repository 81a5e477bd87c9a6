"""Which recordings to enhance, and where each goes.

A path may be too long, or lie where nobody may look. That is said when the file is
opened, and keeps no other from being enhanced: paths are asked about by `os.path`,
which answers no where `pathlib` raises.
"""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.cli.paths import same_file
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound.formats import SUFFIXES
from espnet_pse_kd.sound.reading import PIPE
from espnet_pse_kd.sound.writing import result_suffix

NAME = "{name}"
"""Stands for the name of a recording in that of its result."""
_MAGIC = frozenset("*?[")
_MOST_NAMES = 5  # of files that are no recordings, in one line


class Job(NamedTuple):
    """One recording to enhance.

    Attributes:
        source: recording.
        output: file to write.
    """

    source: Path
    output: Path


class Found(NamedTuple):
    """What lies in a folder.

    Attributes:
        recordings: in order of their names.
        others: what is none, and is passed over.
    """

    recordings: list[Path]
    others: list[Path]


def names_one(inputs: Sequence[str]) -> bool:
    """Whether the command line names one file, not a folder, pattern or several."""
    first = inputs[0]
    return len(inputs) == 1 and not os.path.isdir(first) and not _is_glob(first)


def plan(
    inputs: Sequence[str], output: Path | None, naming: str = "{name}_enhanced"
) -> list[Job]:
    """Find the recordings that the command line names.

    What lies in a folder and is no recording is named on standard error.

    Args:
        inputs: files, folders (searched with all folders in them) and glob patterns;
            ``-`` alone for standard input.
        output: a file if one file is named and this has a suffix, otherwise a folder,
            in which the tree of each input folder is repeated; ``-`` for standard
            output; None: beside each recording.
        naming: how results beside recordings are called, see `beside`.

    Raises:
        UserError: an input is empty, a folder or pattern holds no recording but
            results, a folder is input and output, several recordings would go into one
            file, or two to the same.
    """
    _refuse_words(inputs, output)
    if names_one(inputs) and output is not None and _is_file_name(output):
        return [Job(Path(inputs[0]), output)]
    if Path(inputs[0]) == PIPE:
        return [Job(PIPE, output / "stdin.wav" if output else PIPE)]
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, name in _expand(text, output, naming):
            job = Job(source, _placed(source, name, output, naming))
            other = jobs.setdefault(job.output, job)
            if not same_file(other.source, source) and other != job:
                raise UserError(
                    f"{source} and {other.source}: both would go to {job.output}; "
                    "enhance them into different folders"
                )
    return list(jobs.values())


def beside(source: Path, naming: str) -> Path:
    """Where the result goes if nothing else is asked for: into the same folder.

    Args:
        source: recording.
        naming: name of the result without its suffix, such as ``{name}_me``, in which
            ``{name}`` stands for the recording's.
    """
    name = naming.replace(NAME, source.stem)
    return source.with_name(f"{name}{result_suffix(source.suffix)}")


def is_result(path: Path, naming: str) -> bool:
    """Whether a file beside recordings has the name of a result."""
    before, _, after = naming.partition(NAME)
    stem = path.stem
    whole = len(stem) > len(before) + len(after)
    return whole and stem.startswith(before) and stem.endswith(after)


def _placed(source: Path, name: Path, output: Path | None, naming: str) -> Path:
    if output is None:
        return beside(source, naming)
    return output / name.with_suffix(result_suffix(name.suffix))


def _is_file_name(output: Path) -> bool:
    return output == PIPE or bool(output.suffix and not os.path.isdir(output))


def _refuse_words(inputs: Sequence[str], output: Path | None) -> None:
    """Refuse words that name nothing, and one file for several recordings."""
    if "" in inputs:
        raise UserError("'': an empty name, as of an unset variable; name a recording")
    if str(PIPE) in inputs and len(inputs) > 1:
        raise UserError("-: standard input is one recording; give it alone")
    if output is None or names_one(inputs):
        return
    named = (
        os.path.isfile(output)
        or not os.path.isdir(output)
        and (output == PIPE or output.suffix.lower() in SUFFIXES)
    )
    if named:
        raise UserError(f"{output}: a file; give a folder for several recordings")


def _is_glob(text: str) -> bool:
    return bool(_MAGIC & set(text)) and not os.path.exists(text)


def _expand(text: str, output: Path | None, naming: str) -> Iterator[tuple[Path, Path]]:
    """Recordings of one word of the command line, with their names in the output."""
    path = Path(text)
    if os.path.isdir(path):
        yield from _expand_folder(text, output, naming)
    elif _is_glob(text):
        matches = [Path(match) for match in glob.glob(text, recursive=True)]
        files = sorted(match for match in matches if _is_file(match))
        if not files:
            raise UserError(f"{text}: matches no file; correct the pattern")
        files = _without_results(text, files, _searched(path), output, naming)
        yield from ((file, Path(file.name)) for file in files)
    else:
        yield path, Path(path.name)


def _expand_folder(
    text: str, output: Path | None, naming: str
) -> Iterator[tuple[Path, Path]]:
    path = Path(text)
    if output is not None and path.resolve() == output.resolve():
        raise UserError(f"{text}: is the output as well; give another --output")
    found = search(path)
    note_others(path, found.others)
    files = _without_results(text, found.recordings, path, output, naming)
    if files == [path]:  # it cannot be read: a name that no other result has
        yield path, Path(*path.absolute().parts[1:])
    else:
        yield from ((file, file.relative_to(path)) for file in files)


def _searched(pattern: Path) -> Path:
    """The folder in which a glob pattern searches."""
    return Path(*takewhile(lambda part: not _MAGIC & set(part), pattern.parts))


def _without_results(
    text: str, files: Sequence[Path], folder: Path, output: Path | None, naming: str
) -> list[Path]:
    """Leave out what a first run wrote, inside the input or beside the recordings.

    Args:
        text: the word of the command line, for the error.
        files: what was found.
        folder: where it was searched for.
        output: where results go; None: beside each recording.
        naming: see `beside`.

    Raises:
        UserError: nothing is left.
    """
    if output is None:
        shown = f"{naming.replace(NAME, '*')}.*"
        left = [file for file in files if not is_result(file, naming)]
        if len(left) < len(files):
            note = f"{len(files) - len(left)} files named {shown} are results"
            print(f"note: {text}: {note}; passed over", file=sys.stderr)
        where = f"beside the recordings, as {shown}"
    else:
        # A path has many spellings, some of them through links.
        results = output.resolve()
        if folder.resolve() not in results.parents:
            return list(files)
        left = [f for f in files if not f.parent.resolve().is_relative_to(results)]
        where = f"in the output {output}"
    if not left:
        raise UserError(f"{text}: all of it lies {where}; give another --output")
    return left


def recordings(folder: Path) -> list[Path]:
    """Recordings in a folder and all folders in it; see `search`."""
    return search(folder).recordings


def search(folder: Path) -> Found:
    """Look through a folder and all folders in it.

    A folder that may not be read is among the recordings: opened as one it tells why,
    and what it holds is not passed over in silence. Links to folders are not followed,
    and hidden files of other kinds not counted.

    Raises:
        UserError: there is no such folder, no recording in it, or it is a whole disk.
    """
    if not os.path.isdir(folder):
        raise UserError(f"{folder}: no such folder; correct the path")
    if folder.resolve() == Path(folder.resolve().anchor):
        raise UserError(
            f"{folder}: the whole disk; give the folder that holds the recordings"
        )
    found, others = [], []

    def refused(error: OSError) -> None:
        found.append(Path(error.filename))

    for parent, folders, names in os.walk(folder, onerror=refused):
        others += [p for p in (Path(parent, f) for f in folders) if p.is_symlink()]
        for path in (Path(parent, name) for name in names):
            sound, hidden = path.suffix.lower() in SUFFIXES, path.name.startswith(".")
            if sound and not hidden and _is_file(path):
                found.append(path)
            elif sound or not hidden:
                others.append(path)
    if not found:
        note_others(folder, others)
        raise UserError(
            f"{folder}: no recording in it ({' '.join(sorted(SUFFIXES))}); give "
            "another folder, or name the files"
        )
    return Found(sorted(found), sorted(others))


def note_others(folder: Path, others: Sequence[Path]) -> None:
    """Name what is passed over, if anything is."""
    if not others:
        return
    names = ", ".join(str(path.relative_to(folder)) for path in others[:_MOST_NAMES])
    more = len(others) - _MOST_NAMES
    print(
        f"note: {folder}: passed over, no recordings by their names: {names}"
        + (f" and {more} more" if more > 0 else ""),
        file=sys.stderr,
    )


def _is_file(path: Path) -> bool:
    """Whether it is a file, or nobody may look; opening it will tell."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:  # a link to nothing
        return False
    except OSError:
        return True
