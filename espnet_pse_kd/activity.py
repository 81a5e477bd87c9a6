"""Who speaks when: activity of target and interferer, and the personal VAD's classes.

Definition: docs/method.md, "Activity". A frame of 32 ms is active where its power is
above the larger of (the signal's loudest frame - 25 dB) and -70 dBFS.
"""

from __future__ import annotations

import torch
from torch import Tensor

from espnet_pse_kd.stft import HOP, pad_to_frames

NS, NTSS, TSS = 0, 1, 2
"""Classes of the personal VAD: no speech, non-target speech, target speech."""
CLASSES = ("ns", "ntss", "tss")
LABEL_MARGIN = 2
"""Frames by which gate and pVAD labels are widened on each side."""


def frame_power(x: Tensor) -> Tensor:
    """Mean square of each 32 ms frame, centred as the loss frames are.

    Args:
        x: (..., N)

    Returns:
        (..., T) with ``T = ceil(N / 256) + 1``. Samples outside the signal count
        as zero.
    """
    # A window is two hops: each hop is squared once, not twice.
    hops = pad_to_frames(x).unflatten(-1, (-1, HOP)).square().mean(-1)  # [..., T + 1]
    return (hops[..., 1:] + hops[..., :-1]) / 2


def activity(x: Tensor, floor_db: float = -25.0, silence_dbfs: float = -70.0) -> Tensor:
    """Frames in which a clean signal is active.

    Args:
        x: (..., N) clean image of one speaker, full scale = 1.
        floor_db: threshold relative to the signal's loudest frame, in dB.
        silence_dbfs: absolute threshold, in dBFS.

    Returns:
        bool (..., T); all False for a silent signal.
    """
    power = frame_power(x)
    peak = power.amax(-1, keepdim=True)
    threshold = (peak * 10 ** (floor_db / 10)).clamp_min(10 ** (silence_dbfs / 10))
    return power > threshold


def widen(active: Tensor, frames: int = LABEL_MARGIN) -> Tensor:
    """Extend every active run of a bool (..., T) tensor by ``frames`` on each side."""
    if frames == 0:
        return active
    flat = active.reshape(-1, 1, active.shape[-1]).float()
    wide = torch.nn.functional.max_pool1d(flat, 2 * frames + 1, 1, frames)
    return wide.reshape(active.shape) > 0


def vad_classes(target: Tensor, interferer: Tensor) -> Tensor:
    """Labels of the personal VAD at loss frames, from widened activities.

    Overlapped speech is target speech: the pVAD answers "does the target speak?".

    Args:
        target: (..., N) target image.
        interferer: (..., N) interferer image.

    Returns:
        int64 (..., T) of `NS`, `NTSS`, `TSS`.
    """
    a, b = widen(activity(target)), widen(activity(interferer))
    return torch.where(a, TSS, torch.where(b, NTSS, NS))


def resample_frames(values: Tensor, hop_from: int, hop_to: int, length: int) -> Tensor:
    """Move frame values to another frame rate, by the time of the frame centres.

    Floats are interpolated linearly; bools and integers take the nearest frame.
    Beyond the last centre the last value is held.

    Args:
        values: (..., T1) or, floats only, (..., T1, C) if ``values.dim() > 2``.
        hop_from: samples between centres of ``values``.
        hop_to: samples between centres of the result.
        length: number of frames of the result.

    Returns:
        (..., length) or (..., length, C).
    """
    dim = -1 if values.dim() <= 2 else -2
    last = values.shape[dim] - 1
    position = torch.arange(length, device=values.device) * (hop_to / hop_from)
    position = position.clamp(max=last)
    if not values.is_floating_point():
        return values.index_select(dim, position.round().long())
    low = position.floor().long()
    high = (low + 1).clamp(max=last)
    fraction = (position - low).to(values.dtype)
    if dim == -2:
        fraction = fraction[:, None]
    before = values.index_select(dim, low)
    return before + fraction * (values.index_select(dim, high) - before)
