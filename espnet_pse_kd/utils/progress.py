"""Progress of long work, with the time left, and a process pool that reports it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_SECONDS_BETWEEN_LINES = 15.0


def progress(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Yield ``items`` and log ``label: done/total, time left`` about every 15 s.

    Plain lines rather than a bar that redraws itself: they read well in a log file.
    """
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES or done == total:
            last = now
            left = (now - start) / done * (total - done)
            print(
                f"{label}: {done}/{total}, {now - start:.0f} s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )


def parallel_map(
    function: Callable[[T], R], items: Sequence[T], nj: int, label: str
) -> Iterator[R]:
    """Yield ``function(item)`` in the order of ``items``, from ``nj`` processes.

    ``nj=1`` runs in this process, which keeps tracebacks and debuggers simple.
    """
    if nj <= 1 or len(items) <= 1:
        yield from progress(map(function, items), len(items), label)
        return
    with ProcessPoolExecutor(nj) as pool:
        chunk = max(1, min(16, len(items) // (4 * nj)))
        results = pool.map(function, items, chunksize=chunk)
        yield from progress(results, len(items), label)
