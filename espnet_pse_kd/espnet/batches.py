"""Zero-padded batches of samples of different lengths."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def lengths_or_all(signal: Tensor, lengths: Tensor | None) -> Tensor:
    """Lengths (B,) on the device of ``signal`` (B, N, ...), all N where not given."""
    if lengths is not None:
        return lengths.to(signal.device)
    return torch.full((len(signal),), signal.shape[1], device=signal.device)


def equal_lengths(lengths: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Split a batch by length: pairs of a length and the bool (B,) of its samples.

    What looks at a whole sample, such as a bidirectional network or a level, must not
    see the padding; training batches have one length and stay whole.
    """
    for length in lengths.unique().tolist():
        yield length, lengths == length
