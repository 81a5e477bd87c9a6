"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from espnet_pse_kd.errors import UserError


@contextmanager
def exclusive(folder: Path, work: str) -> Iterator[int]:
    """Hold a folder, which is made if need be, for this process.

    It is free again when this process and all that inherited the descriptor have ended,
    however they end.

    Args:
        folder: gets a file ``.lock``.
        work: what is done in it, for the error line.

    Yields:
        the descriptor of the lock.

    Raises:
        UserError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(
                f"{folder}: another {work} writes into it; wait for it or end it"
            ) from None
        yield lock.fileno()
