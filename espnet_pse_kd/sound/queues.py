"""Samples that wait for others, and windows that slide over them."""

from __future__ import annotations

import numpy as np


class Queue:
    """Blocks (n, width) put in at one end and taken out at the other.

    Args:
        width: columns.
        ahead: zeros (ahead, width) that are in it from the beginning.
    """

    def __init__(self, width: int, ahead: int = 0) -> None:
        self._rows = np.zeros((ahead, width), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def push(self, block: np.ndarray) -> None:
        """Append (n, width)."""
        self._rows = np.concatenate([self._rows, block])

    def pop(self, count: int) -> np.ndarray:
        """Take out the oldest (count, width), fewer if there are fewer."""
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken

    def peek(self) -> np.ndarray:
        """All (n, width) that is in it."""
        return self._rows

    def frames(self, window: int, hop: int) -> np.ndarray:
        """Take out all windows that are complete: (frames, width, window).

        What the next window needs stays.
        """
        count = max(0, (len(self._rows) - window) // hop + 1)
        if not count:
            return np.zeros((0, self._rows.shape[1], window), np.float32)
        slid = np.lib.stride_tricks.sliding_window_view(self._rows, window, axis=0)
        found = slid[: count * hop : hop]
        self._rows = self._rows[count * hop :]
        return found


def fitted(block: np.ndarray, count: int) -> np.ndarray:
    """A block (n, width) as (count, width): cut, or with zeros at its end."""
    missing = max(0, count - len(block))
    return np.pad(block[:count], ((0, missing), (0, 0)))
