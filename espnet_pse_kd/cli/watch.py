"""Enhances what is put into a folder, until it is told to stop."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.cli.batch import Job, beside, is_result, recordings
from espnet_pse_kd.cli.worker import Worker
from espnet_pse_kd.errors import UserError, named_files
from espnet_pse_kd.sound.writing import result_suffix

_SECONDS = 2.0
"""Between two looks; a file that is the same in both is complete."""


class State(NamedTuple):
    """Of a file: size in bytes and time of the last change."""

    size: int
    changed: int


_wait = time.sleep


def watch(folder: Path, output: Path | None, naming: str, worker: Worker) -> None:
    """Enhance all that is in a folder, and what comes into it, until Ctrl-C.

    A file that fails is reported, and tried again when it changes.

    Args:
        folder: with all folders in it.
        output: where results go; None: beside the recordings.
        naming: of results, see `batch.beside`.
        worker: what enhances.

    Raises:
        UserError: there is no such folder, or it is the output as well.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; correct --watch")
    if output is not None and folder.resolve() == output.resolve():
        raise UserError(f"{folder}: is the output as well; give another --output")
    print(f"watching {folder}; Ctrl-C stops", file=sys.stderr)
    try:
        for source in arrivals(folder, output, naming):
            attempt(job_of(source, folder, output, naming), worker)
    except KeyboardInterrupt:
        print("stopped; no unfinished file is left", file=sys.stderr)


def job_of(source: Path, folder: Path, output: Path | None, naming: str) -> Job:
    """Where the result of a recording in the watched folder goes."""
    if output is None:
        return Job(source, beside(source, naming))
    name = source.relative_to(folder)
    return Job(source, output / name.with_suffix(result_suffix(name.suffix)))


def attempt(job: Job, worker: Worker) -> None:
    """Enhance one file unless its result exists; report what goes wrong."""
    if worker.finished(job):
        return
    try:
        with named_files():
            worker.enhance(job)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)


def arrivals(
    folder: Path,
    output: Path | None,
    naming: str,
) -> Iterator[Path]:
    """Yield recordings when they are complete, and again when they have changed.

    Args:
        folder: to look through.
        output: where results go, which are none; None: they are named by ``naming``.
        naming: see `batch.beside`.
    """
    before: dict[Path, State] = {}
    yielded: dict[Path, State] = {}
    while True:
        now = dict(_states(folder, output, naming))
        for path, state in now.items():
            if before.get(path) == state and yielded.get(path) != state:
                yielded[path] = state
                yield path
        before = now
        _wait(_SECONDS)


def _states(
    folder: Path, output: Path | None, naming: str
) -> Iterator[tuple[Path, State]]:
    results = output and output.resolve()
    try:
        found = recordings(folder)
    except UserError:  # nothing in it, yet
        return
    for path in found:
        if (
            is_result(path, naming)
            if results is None
            else (path.resolve().is_relative_to(results))
        ):
            continue
        try:
            status = os.stat(path)
        except OSError:  # gone, or not to be looked at
            continue
        yield path, State(status.st_size, status.st_mtime_ns)
