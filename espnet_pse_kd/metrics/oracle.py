"""Masks that know the target: what a real, positive gain per bin can reach."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike

from espnet_pse_kd.stft import istft, stft


def oracle_wiener(
    target: ArrayLike, mixture: ArrayLike, root: bool = False
) -> np.ndarray:
    """Apply the oracle Wiener mask ``|S|^2 / (|S|^2 + |X - S|^2)`` to the mixture.

    Args:
        target: (N,)
        mixture: (N,)
        root: use the square root of the mask, which keeps the target's power.

    Returns:
        float32 (N,); exact zeros for a silent target.
    """
    s = torch.from_numpy(np.ascontiguousarray(target, np.float64))
    x = torch.from_numpy(np.ascontiguousarray(mixture, np.float64))
    wanted = stft(s).abs().square()  # [T, F]
    other = stft(x - s).abs().square()  # [T, F]
    mask = wanted / (wanted + other).clamp_min(torch.finfo(torch.float64).tiny)
    mask = mask.sqrt() if root else mask
    return istft(mask * stft(x), len(x)).float().numpy()
