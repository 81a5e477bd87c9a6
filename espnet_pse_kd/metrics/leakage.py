"""How far everything is turned down while the target is silent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from espnet_pse_kd.metrics.frames import RUN_FRAMES, active, power, share
from espnet_pse_kd.metrics.separation import energy_ratio_db

AUDIBLE_DB = 40.0
"""A frame of interfering speech less than this far down counts as leaking."""
CAP_DB = 60.0
"""Reductions are capped here before they are averaged."""


def leakage_reduction(mixture: ArrayLike, estimate: ArrayLike) -> float:
    """``10 log10(E_in / E_out)`` of one utterance without the target, higher is better.

    Args:
        mixture: (N,)
        estimate: (N,)

    Returns:
        dB, at most 160 (E_out is floored at 1e-16 E_in); NaN for a silent mixture.
    """
    x, y = np.asarray(mixture, np.float64), np.asarray(estimate, np.float64)
    return -energy_ratio_db(float(y @ y), float(x @ x))


def audible_share(mixture: ArrayLike, estimate: ArrayLike, frames: ArrayLike) -> float:
    """Share of the chosen frames (bool (T,)) that are less than 40 dB down."""
    before, after = power(mixture), power(estimate)
    return share(after > before * 10 ** (-AUDIBLE_DB / 10), frames)


def silent_stretches(target_active: ArrayLike, skip: int = RUN_FRAMES) -> np.ndarray:
    """Frames without the target, but for the 200 ms after each of its offsets.

    Args:
        target_active: bool (T,)
        skip: frames to leave out after an active frame.

    Returns:
        bool (T,)
    """
    a = np.asarray(target_active, bool)
    index = np.arange(len(a))
    last = np.maximum.accumulate(np.where(a, index, -skip - 1))
    return index - last > skip


def leakage(
    target: ArrayLike, interferer: ArrayLike, mixture: ArrayLike, estimate: ArrayLike
) -> dict[str, float]:
    """Leakage figures of one trial.

    A trial whose target is silent throughout (TS3) is judged as a whole, any other on
    its target-silent stretches.

    Args:
        target: (N,)
        interferer: (N,)
        mixture: (N,)
        estimate: (N,)

    Returns:
        ``leakage_reduction`` in dB and ``leak_audible``, the share of frames with
        interfering speech less than 40 dB down. NaN where there is no such frame.
    """
    stretches = silent_stretches(active(target))
    if stretches.all():
        reduction = leakage_reduction(mixture, estimate)
    else:
        reduction = -energy_ratio_db(
            float(power(estimate)[stretches].sum()),
            float(power(mixture)[stretches].sum()),
        )
    return {
        "leakage_reduction": reduction,
        "leak_audible": audible_share(
            mixture, estimate, stretches & active(interferer)
        ),
    }
