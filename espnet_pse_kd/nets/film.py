"""Feature-wise modulation by a speaker vector."""

from __future__ import annotations

from torch import Tensor, nn


class FiLM(nn.Module):
    """Gain and shift of every feature from a speaker vector (arXiv 1709.07871).

    The identity at the start of a training.

    Args:
        speaker_dim: size S of the speaker vector.
        features: number I of features.
    """

    def __init__(self, speaker_dim: int, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(speaker_dim, 2 * features)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        """Modulate (..., B, I) by (B, S)."""
        gain, shift = self.linear(speaker).chunk(2, -1)  # [B, I]
        return x * (1 + gain) + shift  # [..., B, I]
