"""How much of the estimate is the target: SI-SDR, its improvement, level change."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

LIMIT_DB = 60.0
"""SI-SDR is clipped to +-60 dB: beyond it nothing is audible, and means stay finite."""
FLOOR = 1e-16
"""Energy ratios are floored here (-160 dB), the resolution of float32 estimates."""


def si_sdr(target: ArrayLike, estimate: ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., arXiv 1811.02508).

    ``10 log10(|t|^2 / |y - t|^2)`` with ``t`` the projection of the estimate on the
    target; no mean is removed. Always finite: clipped to +-`LIMIT_DB`, and -`LIMIT_DB`
    where nothing of the target is in the estimate (either is silent).

    Args:
        target: (N,) reference.
        estimate: (N,) signal to judge.

    Returns:
        SI-SDR in dB.
    """
    s, y = np.asarray(target, np.float64), np.asarray(estimate, np.float64)
    energy, cross = float(s @ s), float(s @ y)
    if energy <= 0.0 or cross == 0.0:
        return -LIMIT_DB
    wanted = cross / energy * s
    error = y - wanted
    kept, lost = float(wanted @ wanted), float(error @ error)
    if kept <= lost * 10 ** (-LIMIT_DB / 10):
        return -LIMIT_DB
    if lost <= kept * 10 ** (-LIMIT_DB / 10):
        return LIMIT_DB
    return 10 * math.log10(kept / lost)


def si_sdr_improvement(
    target: ArrayLike, estimate: ArrayLike, mixture: ArrayLike
) -> float:
    """SI-SDR of the estimate minus that of the mixture, in dB; all signals (N,)."""
    return si_sdr(target, estimate) - si_sdr(target, mixture)


def energy_ratio_db(numerator: float, denominator: float) -> float:
    """``10 log10`` of an energy ratio, at least -160 dB; NaN where the divisor is 0."""
    if denominator <= 0.0:
        return float("nan")
    return float(10 * np.log10(max(numerator / denominator, FLOOR)))


def level_change(target: ArrayLike, estimate: ArrayLike, active: ArrayLike) -> float:
    """Level of the estimate above that of the target, while the target is active.

    Args:
        target: (N,)
        estimate: (N,)
        active: bool (T,) activity of the target at loss frames.

    Returns:
        dB, negative where the target was attenuated, at least -160; NaN for a silent
        target.
    """
    from espnet_pse_kd.metrics.frames import power

    mask = np.asarray(active, bool)
    return energy_ratio_db(
        float(power(estimate)[mask].sum()), float(power(target)[mask].sum())
    )
