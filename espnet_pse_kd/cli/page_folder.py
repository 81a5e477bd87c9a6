"""The folder of what the page of ``pse-kd serve`` was given, and of its results."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ModuleNotFoundError:  # Windows, where leftovers have to be removed by hand
    fcntl = None  # type: ignore[assignment]

_PREFIX = "pse-kd-page-"
_LOCK = ".running"
_YOUNGEST = 60.0  # seconds in which a server that has just started takes its lock


@contextmanager
def page_folder() -> Iterator[Path]:
    """A folder for one server, removed at the end, together with those left behind.

    A server that was killed leaves its folder, and voices in it; the next one sweeps
    it. That a server runs is known by a lock, which ends with its process.
    """
    sweep_folders(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as own:
        folder = Path(own)  # nobody else may look into it
        with open(folder / _LOCK, "w") as lock:
            _take(lock)
            yield folder


def sweep_folders(root: Path) -> None:
    """Remove the folders of servers that do not run any more.

    Args:
        root: where temporary folders lie. Links and what belongs to others stay.
    """
    if fcntl is None:
        return
    for folder in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # removed by another, or not ours
            if _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    status = folder.lstat()
    own = status.st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
    if not own or time.time() - status.st_mtime < _YOUNGEST:
        return False
    try:
        with open(folder / _LOCK) as lock:
            return _take(lock)
    except FileNotFoundError:  # it ended before it had one
        return True


def _take(lock: IO[str]) -> bool:
    """Whether the lock could be had; it ends when the file is closed."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
