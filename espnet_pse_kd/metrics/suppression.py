"""Target speaker over-suppression (Eskimez et al., arXiv 2110.09625, eq. 2-3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from espnet_pse_kd.metrics.frames import (
    active,
    long_runs,
    magnitude,
    power,
    share,
)

POWER = 0.3
GAMMA = 0.1
REFERENCE_DBFS = -26.0
HALF_HOUR = 1800.0
"""Seconds in half an hour: a share of frames times this is "seconds per half hour"."""


def tsos_frames(
    target: ArrayLike,
    estimate: ArrayLike,
    scale_free: bool = True,
    exponent: float = POWER,
    gamma: float = GAMMA,
) -> np.ndarray:
    """Frames in which the target is over-suppressed.

    As printed, ``sum_f max(|S|^p - |Y|^p, 0)^2 > gamma sum_f |S|^p``. The two sides
    have different powers of the level, so both signals are first scaled by the gain
    that brings the target's active frames to -26 dBFS. The scale-free form squares
    the terms of the right side, ``> gamma sum_f |S|^2p``: an even attenuation of more
    than 11.0 dB then counts, at any level.

    Args:
        target: (N,)
        estimate: (N,)
        scale_free: which of the two forms.
        exponent: p.
        gamma: threshold.

    Returns:
        bool (T,); False wherever the target is exactly zero.
    """
    gain = 1.0 if scale_free else _reference_gain(target)
    reference = (gain * magnitude(target)) ** exponent  # [T, F]
    lost = np.maximum(reference - (gain * magnitude(estimate)) ** exponent, 0.0)
    bound = reference**2 if scale_free else reference
    return (lost**2).sum(-1) > gamma * bound.sum(-1)


def _reference_gain(target: ArrayLike) -> float:
    frames = power(target)[active(target)]
    if not frames.size:
        return 1.0
    return float(np.sqrt(10 ** (REFERENCE_DBFS / 10) / frames.mean()))


def local_snr(target: ArrayLike, mixture: ArrayLike) -> np.ndarray:
    """SNR of each loss frame in dB, target against the rest: (T,), may be infinite."""
    wanted = power(target)
    other = power(np.asarray(mixture, np.float64) - np.asarray(target, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * (np.log10(wanted) - np.log10(other))


def deletion(tsos: ArrayLike, target_active: ArrayLike) -> float:
    """Share of target-active time inside over-suppressed runs of 200 ms or longer.

    Args:
        tsos: bool (T,), scale-free `tsos_frames`. Runs may pass through frames between
            words, so a word lost with its pauses is one run.
        target_active: bool (T,)

    Returns:
        Share in 0..1, NaN for a silent target.
    """
    return share(long_runs(tsos), target_active)


def over_suppression(
    target: ArrayLike, estimate: ArrayLike, mixture: ArrayLike
) -> dict[str, float]:
    """All over-suppression figures of one trial, as shares in 0..1.

    Args:
        target: (N,)
        estimate: (N,)
        mixture: (N,)

    Returns:
        ``tsos`` (scale-free, over active frames), ``tsos_all`` (over all frames),
        ``tsos_low_snr`` and ``tsos_high_snr`` (active frames with a local SNR below and
        from 0 dB), ``tsos_printed`` and ``tsos_printed_all`` (the form as printed),
        ``deletion``. NaN where no frame is in question.
    """
    a = active(target)
    everywhere = np.ones_like(a)
    free = tsos_frames(target, estimate)
    printed = tsos_frames(target, estimate, scale_free=False)
    low = local_snr(target, mixture) < 0
    spoken = bool(a.any())
    return {
        "tsos": share(free, a),
        "tsos_all": share(free, everywhere) if spoken else float("nan"),
        "tsos_low_snr": share(free, a & low),
        "tsos_high_snr": share(free, a & ~low),
        "tsos_printed": share(printed, a),
        "tsos_printed_all": share(printed, everywhere) if spoken else float("nan"),
        "deletion": deletion(free, a),
    }
