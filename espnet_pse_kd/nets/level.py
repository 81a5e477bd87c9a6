"""A causal peak follower: what makes a network indifferent to the input's gain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_NATS_PER_DB = math.log(10) / 10


def decay_per_frame(db_per_second: float, hop_seconds: float) -> float:
    """Fall of a follower in nats of power per frame."""
    return db_per_second * _NATS_PER_DB * hop_seconds


def follow_peak(power: Tensor, level: Tensor, decay: float, floor: float) -> Tensor:
    """Running maximum of log power that falls by ``decay`` per frame.

    Args:
        power: (T, B) log power of each frame, in nats.
        level: (B,) level after the frame before the first.
        decay: nats per frame.
        floor: lowest level, in nats.

    Returns:
        (T, B) levels, each at least the frame's own power.
    """
    # On a frame of reference that falls with the follower, it is a plain maximum.
    fallen = decay * torch.arange(
        1, len(power) + 1, dtype=power.dtype, device=power.device
    ).unsqueeze(1)
    peaks = torch.cat([level[None], power + fallen]).cummax(0).values[1:]  # [T, B]
    return (peaks - fallen).clamp_min(floor)
