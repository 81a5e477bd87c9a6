"""What the causal networks share: one code path for whole signals and single hops."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class StreamingNetwork[State: tuple](nn.Module, ABC):
    """A network whose whole pass is a stream from a fresh state.

    Shapes: B samples, N audio samples, S size of the speaker vector.

    Attributes:
        hop: samples per step.
    """

    hop: int
    speaker_dim: int

    @property
    @abstractmethod
    def latency(self) -> int:
        """Output sample n depends on input samples before n + latency only."""

    @abstractmethod
    def init_state(self, batch: int) -> State:
        """State before the first sample of a stream of ``batch`` signals."""

    @abstractmethod
    def _run(
        self, samples: Tensor, speaker: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Run (B, T hop) samples from ``state``; as many come out, late by the lag."""

    def forward(self, mixture: Tensor, speaker: Tensor) -> Tensor:
        """Enhance whole signals.

        Args:
            mixture: (B, N)
            speaker: (B, S), unit norm.

        Returns:
            (B, N), aligned with the mixture.
        """
        length, lag = mixture.shape[-1], self.latency - self.hop
        # The lag brings out the last samples.
        padded = nn.functional.pad(mixture, (0, -length % self.hop + lag))
        output, _ = self._run(padded, speaker, self.init_state(len(mixture)))
        return output[:, lag : lag + length]

    def step(
        self, frame: Tensor, speaker: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Enhance the next hop of a stream; the output lags by latency - hop samples.

        Args:
            frame: (B, hop)
            speaker: (B, S)
            state: from `init_state` or the step before.

        Returns:
            (B, hop) output, late by the lag, and the new state.
        """
        return self._run(frame, speaker, state)
