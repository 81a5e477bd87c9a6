"""Where the time of a training went, from the log that ESPnet wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from espnet_pse_kd.errors import UserError

WORK = ("forward_time", "backward_time", "optim_step_time")
"""What a training is for, in ESPnet's names."""
LOADING, WHOLE = "iter_time", "train_time"

_LINE = re.compile(r"\d+epoch:train:(\d+)-(\d+)batch: (.+)$")


def shares(path: Path) -> dict[str, float]:
    """Shares of the wall time of all training batches.

    Args:
        path: ``train.log`` of an ESPnet training.

    Returns:
        The share of each of `WORK` and of `LOADING`, ``outside``: what is not in
        `WORK` (loading is a part of it), and ``batches``, their number.

    Raises:
        UserError: the file is missing, or holds no training batch.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; give the train.log of a training (stage 5)"
        ) from None
    total = dict.fromkeys((*WORK, LOADING, WHOLE), 0.0)
    batches = 0
    for count, times in _intervals(text):
        batches += count
        for key in total:
            total[key] += count * times[key]
    if not batches:
        raise UserError(
            f"{path}: no line of training batches with {', '.join(total)}; give the "
            "train.log of a training (stage 5)"
        )
    whole = total.pop(WHOLE)
    found = {key: seconds / whole for key, seconds in total.items()}
    found["outside"] = 1 - sum(found[key] for key in WORK)
    return {**found, "batches": batches}


def _intervals(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Number of batches and mean seconds of each line that has all of them."""
    for line in text.splitlines():
        match = _LINE.search(line)
        if match is None:
            continue
        first, last, rest = match.groups()
        pairs = (entry.partition("=") for entry in rest.split(", "))
        times = {key: float(value) for key, _, value in pairs if key.endswith("_time")}
        if {*WORK, LOADING, WHOLE} <= times.keys():
            yield int(last) - int(first) + 1, times
