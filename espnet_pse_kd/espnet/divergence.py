"""A training that diverges is stopped, before it spoils what it has learnt."""

from __future__ import annotations

import math
import statistics
from collections import deque

from espnet_pse_kd.errors import UserError

FACTOR = 10.0
"""Losses that many times as large as usual are no learning."""
_LATEST = 10
"""Steps whose median is judged: one odd batch does not end a training."""
_USUAL = 200
"""Steps before them that say what is usual."""
NAME = "training loss"
_REMEDY = (
    "the training diverges and stops, the state after the last complete epoch is kept; "
    "lower optim_conf lr or grad_clip with --set, and give another --expdir"
)


def check_finite(loss: float, name: str) -> None:
    """Raise `UserError` for a loss, called ``name``, that is not finite."""
    if not math.isfinite(loss):
        raise UserError(f"{name} {loss}: {_REMEDY}")


class LossWatch:
    """Compares the losses of the latest steps with those before them.

    Losses with an SNR in them may be negative; what is usual is therefore the median of
    their magnitudes.
    """

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=_LATEST)
        self._usual: deque[float] = deque(maxlen=_USUAL)

    def see(self, loss: float) -> None:
        """Take the loss of a step.

        Args:
            loss: averaged over the batch, and over all ranks.

        Raises:
            UserError: it is not finite, or the median of the latest steps is more than
                `FACTOR` times the usual magnitude.
        """
        check_finite(loss, NAME)
        if len(self._latest) == _LATEST:
            self._usual.append(abs(self._latest[0]))
        self._latest.append(loss)
        if len(self._usual) < _LATEST:
            return
        latest, usual = statistics.median(self._latest), statistics.median(self._usual)
        if latest > FACTOR * usual:
            raise UserError(
                f"{NAME} {latest:.3g}, {latest / max(usual, 1e-30):.0f} times its "
                f"median {usual:.3g}: {_REMEDY}"
            )
