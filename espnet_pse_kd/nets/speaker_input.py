"""Where the speaker vector enters a network: centred and scaled, once."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SpeakerInput(nn.Module):
    """Centre and scale unit vectors of a speaker encoder.

    Half of the energy of a GE2E vector is common to all speakers, and the entries of a
    unit vector are of the order of S^-1/2: too faint beside normalised features.
    Centred on the mean of many speakers and scaled to entries of unit variance, it is
    told apart from the start.

    Mean and scale are buffers: copied from the encoder when training starts
    (`adopt`), saved in checkpoints and in exported graphs. Profiles and data hold the
    raw unit vector, so that they serve any network of the same encoder.

    Args:
        dim: S, size of the speaker vector.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.tensor(float(dim) ** 0.5))

    def adopt(self, mean: Tensor, scale: float) -> None:
        """Take over an encoder's statistics, see `speaker.statistics`.

        Args:
            mean: (S,) mean of the unit vectors of many speakers.
            scale: factor that brings their differences from it to unit variance.

        Raises:
            ValueError: the mean has another size.
        """
        if mean.shape != self.mean.shape:
            raise ValueError(
                f"the encoder's mean has shape {tuple(mean.shape)}, the network's "
                f"speaker vector {tuple(self.mean.shape)}"
            )
        self.mean.copy_(mean)
        self.scale.fill_(scale)

    def forward(self, speaker: Tensor) -> Tensor:
        """(B, S) unit vectors, or zeros for none, to (B, S) network inputs."""
        return (speaker - self.mean) * self.scale
