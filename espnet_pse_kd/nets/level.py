"""A causal follower of speech level: what makes a network indifferent to gain.

It is deaf to bursts. What it follows is the middle power of the latest 16 frames: a
knock, which fills fewer than half of them, does not move it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEVEL_FLOOR = math.log(1e-8)
"""Lowest log power of `running_amplitude`: -80 dBFS. A stream begins there."""
RECENT = 16
"""Frames whose middle power is followed: 160 ms where frames are 10 ms apart."""
UNSET = -1e4
"""Log power that stands for a frame before the first one of a stream."""

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


def before_stream(like: Tensor) -> Tensor:
    """Powers (B, RECENT - 1) of the frames before a stream of (B, ...): all unset."""
    return like.new_full((len(like), RECENT - 1), UNSET)


def follow_level(
    power: Tensor, level: Tensor, recent: Tensor, decay: float, floor: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Follow the middle power of the latest frames; falls by ``decay`` per frame.

    The middle of `RECENT` frames is their 9th largest. In a stream's first 15 frames
    it is the middle of those that there are, and is not held: a knock at the start
    would otherwise stay for seconds.

    Args:
        power: (T, B) log power of each frame, in nats.
        level: (B,) level that was held after the frame before the first.
        recent: (B, RECENT - 1) powers of the frames before the first.
        decay: nats per frame.
        floor: lowest level, in nats.

    Returns:
        (T, B) levels, then the new ``level`` and ``recent``.
    """
    powers = torch.cat([recent.t(), power])  # [T + R - 1, B]
    ordered = powers.unfold(0, RECENT, 1).sort(-1).values  # [T, B, R]
    count = (ordered > UNSET / 2).sum(-1, keepdim=True)  # [T, B, 1]
    # Unset frames come first in the order; the middle of the others is the lower one.
    index = RECENT - count + (count + 1) // 2 - 1  # [T, B, 1]
    middle = ordered.gather(-1, index.clamp_max(RECENT - 1)).squeeze(-1)  # [T, B]
    full = (count == RECENT).squeeze(-1)  # [T, B]
    held = follow_peak(middle.where(full, UNSET), level, decay, floor)  # [T, B]
    newest = powers[len(power) :].t()  # [B, R - 1]
    return torch.maximum(held, middle), held[-1], newest


@torch.no_grad()
def running_amplitude(
    frames: Tensor, level: Tensor, recent: Tensor, hop_seconds: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Root-mean-square amplitude at the level of speech, without a gradient.

    Args:
        frames: (T, B, W) successive frames.
        level: (B,) log power held before the first of them.
        recent: (B, RECENT - 1) log powers of the frames before.
        hop_seconds: time between frames; the level falls by 3 dB per second.

    Returns:
        (T, B, 1) amplitudes, at least -80 dBFS, then the new ``level``, ``recent``.
    """
    power = frames.square().mean(-1).clamp_min(1e-20).log()  # [T, B]
    decay = decay_per_frame(_DECAY_DB, hop_seconds)
    levels, level, recent = follow_level(power, level, recent, decay, LEVEL_FLOOR)
    return (levels / 2).exp().unsqueeze(-1), level, recent
