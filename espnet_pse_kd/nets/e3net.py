"""E3Net: end-to-end personalized enhancement with a learned filterbank."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.nets.film import FiLM
from espnet_pse_kd.nets.level import LEVEL_FLOOR, running_amplitude
from espnet_pse_kd.nets.streaming import StreamingNetwork

Conditioning = Literal["concat", "film"]

_SLOPE = 0.25  # of PReLU below zero, at the start
_OPEN = 2.0  # bias of the mask at the start: sigmoid(2) = 0.88


class Block(nn.Module):
    """Feed-forward layer, then a residual LSTM, all in their narrow width.

    Args:
        inputs: features that enter, I.
        hidden: units of the feed-forward layer.
        width: features that leave, W.
        speaker_dim: size S of the vector that modulates the input, 0 for none.
    """

    def __init__(self, inputs: int, hidden: int, width: int, speaker_dim: int) -> None:
        super().__init__()
        self.film = FiLM(speaker_dim, inputs) if speaker_dim else None
        self.feed = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.PReLU(),
            nn.Linear(hidden, width),
            nn.PReLU(),
            nn.LayerNorm(width),
        )
        self.lstm = nn.LSTM(width, width)
        self.lstm_norm = nn.LayerNorm(width)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, x: Tensor, speaker: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run T frames: (T, B, I), (B, S), 2 x (1, B, W) -> (T, B, W), new state."""
        if self.film is not None:
            x = self.film(x, speaker)  # [T, B, I]
        x = self.feed(x)  # [T, B, W]
        y, state = self.lstm(x, state)  # [T, B, W]
        return self.norm(self.lstm_norm(y) + x), state  # [T, B, W]


class E3NetState(NamedTuple):
    """Everything that `E3Net.step` needs from the past.

    Attributes:
        samples: (B, hop) newest input samples.
        level: (B,) log power to which the input is normalised.
        hidden: (L, B, W) outputs of the LSTMs.
        cell: (L, B, W) cells of the LSTMs.
        overlap: (B, hop) output samples that await their second frame.
    """

    samples: Tensor
    level: Tensor
    hidden: Tensor
    cell: Tensor
    overlap: Tensor


class E3Net(StreamingNetwork[E3NetState]):
    """Causal E3Net (Thakker et al., arXiv 2204.00771).

    A learned filterbank (Conv1d, PReLU), a mask on its output from a bottleneck and
    residual LSTM blocks, and a learned synthesis (ConvTranspose1d).

    Ours: filterbank and synthesis start as a tight frame in pairs of opposite sign
    (PReLU loses nothing of a pair), so that at the start the network passes its input
    through nearly open masks; neither has a bias, so that silence stays silence; and
    frames are divided by a causal running level, and their synthesis multiplied by it,
    so that the gain of the input does not matter.

    Shapes: B samples, N audio samples, T frames of ``hop``, C filters, D bottleneck,
    W width, S size of the speaker vector. Algorithmic latency ``2 * hop`` = 320 samples
    (20 ms). 9.20 M parameters, 0.918 GMAC/s at the defaults, the published size.
    An all-zero mixture gives zeros.

    Args:
        filters: C, even; at least ``4 * hop`` for an exact pass at the start.
        bottleneck: D
        hidden: units of the feed-forward layers.
        width: W, units of the LSTMs.
        blocks: number of blocks.
        hop: stride of the filterbank in samples; its kernel is twice as long.
        speaker_dim: S
        conditioning: the speaker vector is appended to the filterbank's output
            (``concat``, published), or modulates the input of every block (``film``).
        normalise: divide the input by a running level.

    Raises:
        ValueError: ``conditioning`` is unknown, or ``filters`` odd.
    """

    def __init__(
        self,
        filters: int = 2048,
        bottleneck: int = 1024,
        hidden: int = 1024,
        width: int = 256,
        blocks: int = 4,
        hop: int = 160,
        speaker_dim: int = 256,
        conditioning: Conditioning = "concat",
        normalise: bool = True,
    ) -> None:
        super().__init__()
        if conditioning not in get_args(Conditioning):
            raise ValueError(f"conditioning: {conditioning!r} is not concat or film")
        if filters % 2:
            raise ValueError(f"filters must be even, not {filters}")
        self.hop, self.width, self.speaker_dim = hop, width, speaker_dim
        self.concat, self.normalise = conditioning == "concat", normalise
        analysis, synthesis = _tight_frame(filters, 2 * hop)
        self.analysis = nn.Parameter(analysis)  # [C, 2 hop]
        self.synthesis = nn.Parameter(synthesis)  # [C, 2 hop]
        self.activation = nn.PReLU(init=_SLOPE)
        self.filter_norm = nn.LayerNorm(filters)
        inputs = filters + speaker_dim * self.concat
        self.project = nn.Sequential(
            nn.Linear(inputs, bottleneck), nn.PReLU(), nn.LayerNorm(bottleneck)
        )
        film_dim = 0 if self.concat else speaker_dim
        self.blocks = nn.ModuleList(
            Block(bottleneck if index == 0 else width, hidden, width, film_dim)
            for index in range(blocks)
        )
        self.mask = nn.Linear(width, filters)
        nn.init.constant_(self.mask.bias, _OPEN)

    @property
    def latency(self) -> int:
        """Output sample n depends on input samples before n + latency only."""
        return 2 * self.hop

    def init_state(self, batch: int) -> E3NetState:
        """State before the first sample of a stream of ``batch`` signals."""
        zeros = self.analysis.new_zeros
        return E3NetState(
            zeros(batch, self.hop),
            torch.full_like(zeros(batch), LEVEL_FLOOR),
            zeros(len(self.blocks), batch, self.width),
            zeros(len(self.blocks), batch, self.width),
            zeros(batch, self.hop),
        )

    def _run(
        self, samples: Tensor, speaker: Tensor, state: E3NetState
    ) -> tuple[Tensor, E3NetState]:
        """Run (B, T hop) samples from ``state``; as many come out, one hop later."""
        history = torch.cat([state.samples, samples], -1)  # [B, (T + 1) hop]
        frames = history.unfold(-1, 2 * self.hop, self.hop).transpose(0, 1)
        gain, level = self._gain(frames, state.level)  # [T, B, 1]
        coded = self.activation(nn.functional.linear(frames / gain, self.analysis))
        mask, hidden, cell = self._mask(coded, speaker, state)  # [T, B, C]
        pieces = (coded * mask) @ self.synthesis * gain  # [T, B, 2 hop]
        first, second = pieces.chunk(2, -1)  # [T, B, hop]
        previous = torch.cat([state.overlap[None], second[:-1]])
        output = (first + previous).transpose(0, 1).flatten(1)  # [B, T hop]
        newest = history[:, history.shape[-1] - self.hop :]
        return output, E3NetState(newest, level, hidden, cell, second[-1])

    def _gain(self, frames: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Running level of (T, B, 2 hop) frames: amplitudes (T, B, 1), new state."""
        if not self.normalise:
            return frames.new_ones(1, 1, 1), level
        return running_amplitude(frames, level, self.hop / SAMPLE_RATE)

    def _mask(
        self, coded: Tensor, speaker: Tensor, state: E3NetState
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mask (T, B, C) of the filterbank's output, new hidden and cell states."""
        x = self.filter_norm(coded)  # [T, B, C]
        if self.concat:
            x = torch.cat([x, speaker.expand(len(x), -1, -1)], -1)  # [T, B, C + S]
        x = self.project(x)  # [T, B, D]
        hidden, cell = [], []
        for index, block in enumerate(self.blocks):
            last = state.hidden[index : index + 1], state.cell[index : index + 1]
            x, (h, c) = block(x, speaker, last)  # [T, B, W]
            hidden.append(h)
            cell.append(c)
        mask = torch.sigmoid(self.mask(x))  # [T, B, C]
        return mask, torch.cat(hidden), torch.cat(cell)


def _tight_frame(filters: int, kernel: int) -> tuple[Tensor, Tensor]:
    """Filterbank and synthesis (C, kernel) that reconstruct through a PReLU.

    Rows of an orthonormal real Fourier matrix, low frequencies first, under square-root
    Hann windows; the second half of the filters is the first one negated. Since
    p(u) - p(-u) = (1 + slope) u, the synthesis is the transpose over 1 + slope.
    """
    count = filters // 2
    size = max(count, kernel)
    time = torch.arange(kernel, dtype=torch.float64)
    index = torch.arange(count, dtype=torch.float64)
    # Rows 0, 1, 2, 3, 4 ...: constant, cos 1, sin 1, cos 2, sin 2, ...
    angle = 2 * math.pi / size * ((index + 1) / 2).floor()[:, None] * time
    even = (index % 2 == 0)[:, None] & (index > 0)[:, None]
    rows = torch.where(even, angle.sin(), angle.cos()) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    if size % 2 == 0 and count == size:
        rows[-1] /= math.sqrt(2)  # the Nyquist frequency has no sine
    rows = rows * torch.hann_window(kernel, dtype=torch.float64).sqrt()
    rows = torch.cat([rows, -rows]).to(torch.get_default_dtype())
    return rows, rows / (1 + _SLOPE)
