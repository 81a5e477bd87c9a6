"""Mean and scale of a speaker encoder's vectors, measured once on training speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FILE = Path(__file__).with_name("statistics.npz")
"""``NAME.mean`` (D,) and ``NAME.scale`` () of the encoders inside the package."""


def measure(vectors: np.ndarray) -> tuple[np.ndarray, float]:
    """Statistics of unit vectors (K, D), as many of every speaker as can be had.

    Returns:
        their mean (D,), and the factor that brings what is left to unit variance.
    """
    mean = vectors.astype(np.float64).mean(0)
    scale = 1.0 / float(np.sqrt(np.mean((vectors - mean) ** 2)))
    return mean.astype(np.float32), scale


def statistics(name: str, dim: int) -> tuple[Tensor, float]:
    """Mean (D,) and scale for `nets.speaker_input.SpeakerInput`.

    An encoder from elsewhere, such as a model of ESPnet-SPK, has no statistics here:
    its vectors are scaled to entries of order 1 and not centred.

    Args:
        name: of the encoder, see `load_speaker_encoder`.
        dim: size D of its vectors.
    """
    with np.load(FILE, allow_pickle=False) as archive:
        if f"{name}.mean" in archive:
            mean = torch.from_numpy(archive[f"{name}.mean"])
            return mean, float(archive[f"{name}.scale"])
    return torch.zeros(dim), dim**0.5
