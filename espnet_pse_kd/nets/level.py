"""A causal peak follower: what makes a network indifferent to the input's gain."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVEL_FLOOR = math.log(1e-8)
"""Lowest log power of `running_amplitude`: -80 dBFS. A stream begins there."""

_NATS_PER_DB = math.log(10) / 10
_DECAY_DB = 3.0  # per second


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
        1, power.shape[0] + 1, dtype=power.dtype, device=power.device
    ).unsqueeze(1)
    peaks = torch.cat([level[None], power + fallen]).cummax(0).values[1:]  # [T, B]
    return (peaks - fallen).clamp_min(floor)


@torch.no_grad()
def running_amplitude(
    frames: Tensor, level: Tensor, hop_seconds: float
) -> tuple[Tensor, Tensor]:
    """Root-mean-square amplitude of the loudest recent frame, without a gradient.

    Args:
        frames: (T, B, W) successive frames.
        level: (B,) log power before the first of them.
        hop_seconds: time between frames; the level falls by 3 dB per second.

    Returns:
        (T, B, 1) amplitudes, at least -80 dBFS, and the log power (B,) after the last.
    """
    power = frames.square().mean(-1).clamp_min(1e-20).log()  # [T, B]
    decay = decay_per_frame(_DECAY_DB, hop_seconds)
    levels = follow_peak(power, level, decay, LEVEL_FLOOR)  # [T, B]
    return (levels / 2).exp().unsqueeze(-1), levels[-1]
