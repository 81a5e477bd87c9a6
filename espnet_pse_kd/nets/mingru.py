"""A small causal network for one CPU core: gated linear recurrences on spectra."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from espnet_pse_kd.nets.level import decay_per_frame, follow_peak
from espnet_pse_kd.nets.scan import LinearScan
from espnet_pse_kd.nets.streaming import StreamingNetwork

_LEVEL_FLOOR = math.log(1e-10)
"""Lowest log power to which features are normalised: -100 dB."""


class MinGRUBlock(nn.Module):
    """Pre-normalised, speaker-modulated minGRU and gated feed-forward layer.

    minGRU (arXiv 2410.01201): ``h(t) = (1 - z(t)) h(t-1) + z(t) c(t)``, whose gate
    ``z`` and candidate ``c`` depend on the input alone, so that every matrix product
    runs over all frames at once: training on a CPU costs what its multiply-adds cost.
    """

    def __init__(self, width: int, hidden: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.film = nn.Linear(condition, 2 * width)
        self.gates = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 2 * hidden)
        self.feed_out = nn.Linear(hidden, width)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        with torch.no_grad():
            # Forgetting times spread from about 3 to 300 frames.
            times = torch.logspace(math.log10(3), math.log10(300), width)
            self.gates.bias[:width] = -torch.log(times - 1)

    def forward(self, x: Tensor, condition: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Run T frames.

        Args:
            x: (T, B, D)
            condition: (B, C) speaker condition.
            h: (B, D) recurrent state.

        Returns:
            (T, B, D) and the state after the last frame.
        """
        gain, shift = self.film(condition).chunk(2, -1)  # [B, D]
        y = self.norm(x) * (1 + gain) + shift  # [T, B, D]
        gate, candidate, output = self.gates(y).chunk(3, -1)  # [T, B, D]
        # Under autocast the products are short of digits; what recurs must not be.
        z, candidate = torch.sigmoid(gate.to(h)), candidate.to(h)
        states = LinearScan.apply(1 - z, z * candidate, h)  # [T, B, D]
        x = x + self.out(states * nn.functional.silu(output))  # [T, B, D]
        value, gate = self.feed_in(self.feed_norm(x)).chunk(2, -1)  # [T, B, H]
        return x + self.feed_out(value * nn.functional.silu(gate)), states[-1]


class MinGRUState(NamedTuple):
    """Everything that `MinGRUNet.step` needs from the past.

    Attributes:
        samples: (B, window - hop) newest input samples.
        level: (B,) log power to which features are normalised.
        hidden: (L, B, D) recurrent states.
        overlap: (B, hop) output samples that await their second window.
    """

    samples: Tensor
    level: Tensor
    hidden: Tensor
    overlap: Tensor


def _windows(window: int, synthesis: int) -> tuple[Tensor, Tensor]:
    """Asymmetric analysis and short synthesis windows; their product is a Hann one."""
    hop = synthesis // 2
    rise = window - hop
    n = torch.arange(rise, dtype=torch.float64)
    analysis = torch.cat(
        [
            torch.sin(math.pi / 2 * (n + 0.5) / rise),
            torch.cos(
                math.pi / 2 * (torch.arange(hop, dtype=torch.float64) + 0.5) / hop
            ),
        ]
    )
    n = torch.arange(synthesis, dtype=torch.float64)
    product = torch.sin(math.pi * (n + 0.5) / synthesis).square()
    return analysis, product / analysis[-synthesis:]


class MinGRUNet(StreamingNetwork[MinGRUState]):
    """Causal personalized enhancement with minGRU layers over compressed spectra.

    Built for a single CPU core, in use and in training:

    * A long asymmetric analysis window (32 ms) resolves a voice's harmonics; a short
      synthesis window (20 ms) sets the latency (Mauler and Martin, 2007).
    * Magnitudes are divided by a causal peak follower and compressed, so the level of
      the input does not matter.
    * Recurrences are elementwise (minGRU, arXiv 2410.01201), so all matrix products are
      large in training and few at run time. The speaker vector modulates every layer
      (FiLM).
    * The output is a real mask: the phase of the mixture is kept.

    Shapes: B samples, N audio samples, T frames of 10 ms, F bins, D width.
    Algorithmic latency 320 samples (20 ms). 0.82 M parameters, 0.081 GMAC/s at the
    defaults.

    Args:
        width: D, features per frame.
        layers: number of minGRU blocks.
        feed_hidden: hidden size of the feed-forward layers.
        speaker_dim: size of the speaker vector.
        condition_dim: size of the bottleneck between speaker vector and FiLM.
        window: analysis window in samples.
        hop: hop in samples; the synthesis window is twice as long.
        exponent: compression of the magnitudes.
        level_decay_db: fall of the peak follower, in dB per second.

    Raises:
        ValueError: the window is shorter than twice the hop.
    """

    SAMPLE_RATE = 16000

    analysis: Tensor
    synthesis: Tensor

    def __init__(
        self,
        width: int = 160,
        layers: int = 3,
        feed_hidden: int = 240,
        speaker_dim: int = 256,
        condition_dim: int = 64,
        window: int = 512,
        hop: int = 160,
        exponent: float = 0.3,
        level_decay_db: float = 3.0,
    ) -> None:
        super().__init__()
        if window < 2 * hop:
            raise ValueError(f"window ({window}) must be at least twice hop ({hop})")
        self.width, self.window, self.hop = width, window, hop
        self.speaker_dim, self.exponent = speaker_dim, exponent
        self.level_decay = decay_per_frame(level_decay_db, hop / self.SAMPLE_RATE)
        analysis, synthesis = _windows(window, 2 * hop)
        dtype = torch.get_default_dtype()
        self.register_buffer("analysis", analysis.to(dtype), persistent=False)
        self.register_buffer("synthesis", synthesis.to(dtype), persistent=False)
        bins = window // 2 + 1
        self.condition = nn.Sequential(nn.Linear(speaker_dim, condition_dim), nn.Tanh())
        self.project = nn.Linear(bins, width)
        self.blocks = nn.ModuleList(
            MinGRUBlock(width, feed_hidden, condition_dim) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.mask = nn.Linear(width, bins)
        nn.init.constant_(self.mask.bias, 1.0)

    @property
    def latency(self) -> int:
        """Output sample n depends on input samples before n + latency only."""
        return 2 * self.hop

    def init_state(self, batch: int) -> MinGRUState:
        """State before the first sample of a stream of ``batch`` signals."""
        zeros = self.analysis.new_zeros
        return MinGRUState(
            zeros(batch, self.window - self.hop),
            torch.full_like(zeros(batch), _LEVEL_FLOOR),
            zeros(len(self.blocks), batch, self.width),
            zeros(batch, self.hop),
        )

    def _run(
        self, samples: Tensor, speaker: Tensor, state: MinGRUState
    ) -> tuple[Tensor, MinGRUState]:
        """Run (B, T hop) samples from ``state``; returns as many, one hop late."""
        history = torch.cat([state.samples, samples], -1)
        frames = history.unfold(-1, self.window, self.hop).transpose(0, 1)  # [T, B, W]
        spectrum = torch.fft.rfft(frames * self.analysis)  # [T, B, F]
        features, level = self._features(spectrum, state.level)  # [T, B, F]
        x = self.project(features)  # [T, B, D]
        # A unit vector has entries of order dim^-1/2, too faint for the bottleneck.
        condition = self.condition(speaker * self.speaker_dim**0.5)  # [B, C]
        hidden = []
        for block, h in zip(self.blocks, state.hidden):
            x, last = block(x, condition, h)  # [T, B, D]
            hidden.append(last)
        mask = torch.sigmoid(self.mask(self.norm(x)).to(features))  # [T, B, F]
        output, overlap = self._synthesize(spectrum * mask, state.overlap)
        kept = history[:, history.shape[-1] - (self.window - self.hop) :]
        return output, MinGRUState(kept, level, torch.stack(hidden), overlap)

    def _features(self, spectrum: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Compressed magnitudes (T, B, F) relative to a causal peak follower."""
        power = spectrum.real.square() + spectrum.imag.square()  # [T, B, F]
        with torch.no_grad():
            frame_level = torch.log(power.mean(-1) + 1e-20)  # [T, B]
            levels = follow_peak(frame_level, level, self.level_decay, _LEVEL_FLOOR)
        relative = power * torch.exp(-levels)[..., None]
        compressed = (relative + 1e-12).pow(self.exponent / 2)
        # About zero mean and unit variance over speech in noise.
        return (compressed - 0.45) / 0.25, levels[-1]

    def _synthesize(self, spectrum: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
        """Overlap-add of the last 2 hops of each frame: (B, T hop) and the new tail."""
        frames = torch.fft.irfft(spectrum, self.window)[..., -2 * self.hop :]
        frames = frames * self.synthesis  # [T, B, 2 hop]
        first, second = frames.chunk(2, -1)  # [T, B, hop]
        previous = torch.cat([overlap[None], second[:-1]])
        output = (first + previous).transpose(0, 1)  # [B, T, hop]
        return output.reshape(len(overlap), -1), second[-1]
