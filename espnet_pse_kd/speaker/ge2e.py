"""GE2E d-vector: the default speaker encoder, 256 dimensions, works offline.

Wan et al., "Generalized End-to-End Loss for Speaker Verification", arXiv 1710.10467,
with the weights published in the package Resemblyzer (see ``NOTICE``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime import default_model
from espnet_pse_kd.runtime.framing import (
    GE2E_WINDOW_SECONDS,
    PARTIAL_FRAMES,
    check_hop,
    piece_starts,
)
from espnet_pse_kd.speaker.base import (
    WINDOW_HOP,
    SpeakerEncoder,
    Waveform,
    raise_level,
    trim_silence,
    unit,
    weights_digest,
)
from espnet_pse_kd.speaker.mel import BANDS, HOP, mel_power
from espnet_pse_kd.speaker.weights import read_weights

WEIGHTS = {name: default_model.ENCODERS[name] for name in ("ge2e", "ge2e_robust")}
"""Weights by name: as published, and fine-tuned by `recipe.finetune_encoder`.

They lie in onnxruntime's format; PyTorch takes them from there as well.
"""
_CHUNK = 512  # windows per LSTM call: bounds memory to about 0.5 GB


class GE2ENetwork(nn.Module):
    """The LSTM's layers are separate modules, so that each can have its precision."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.LSTM(inputs, 256) for inputs in (BANDS, 256, 256)
        )
        self.linear = nn.Linear(256, 256)

    def load_published(self, tensors: dict[str, Tensor]) -> None:
        """Take the tensors of one three-layer LSTM, ``lstm.weight_ih_l2`` etc."""
        for name, parameter in self._published():
            parameter.data = tensors[name].float()

    def published_bytes(self) -> bytes:
        """The inverse of `load_published`: a safetensors file in 16 bits."""
        from safetensors.torch import save

        tensors = {n: p.data.half().cpu().contiguous() for n, p in self._published()}
        return save(tensors)

    def _published(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters under the published names."""
        for index, layer in enumerate(self.layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                yield f"lstm.{name}_l{index}", getattr(layer, f"{name}_l0")
        for name, parameter in self.linear.named_parameters():
            yield f"linear.{name}", parameter

    def forward(self, mel: Tensor) -> Tensor:
        """Power spectra, time first, to unit vectors: (T, B, 40) -> (B, 256)."""
        x = mel  # [T, B, M]
        for layer in self.layers:
            weight: Any = layer.weight_ih_l0  # a buffer where it is exported
            x, _ = layer(x.to(weight.dtype))  # [T, B, H]
        return unit(self.linear(x[-1]).relu())  # [B, D]


class GE2E(SpeakerEncoder):
    """Three LSTM layers over 40 mel power bands, 1.4 M frozen parameters.

    It differs from the published package in one point: silence is cut out of an
    enrolment by energy (`trim_silence`) instead of by the WebRTC VAD, a C extension
    without wheels, and before its level is raised, so that the level is that of the
    speech. On the same trimmed waveform the vectors agree within 1e-5.

    Args:
        name: ``ge2e``, the published weights, or ``ge2e_robust``, those weights
            fine-tuned to noise, rooms, channels and other talkers.
        weights: file of them; default the package's.

    Raises:
        UserError: the weights are missing or damaged.
    """

    dim = 256
    window_seconds = GE2E_WINDOW_SECONDS
    sample_rate = SAMPLE_RATE

    def __init__(self, name: str = "ge2e", weights: Path | None = None) -> None:
        self.name = name
        network, tensors = GE2ENetwork(), read_weights(weights or WEIGHTS[name])
        network.load_published(tensors)
        self.digest = weights_digest(tensors)
        self._network = network.eval().requires_grad_(False)
        self._half: GE2ENetwork | None = None

    @property
    def network(self) -> nn.Module:
        """Mel power (T, B, 40) to unit vectors (B, 256), in float32."""
        return self._network

    def trainable(self) -> GE2ENetwork:
        """A copy of the network whose parameters learn."""
        return copy.deepcopy(self._network).train().requires_grad_(True)

    @property
    def device(self) -> torch.device:
        return self._network.linear.weight.device

    def to(self, device: str | torch.device) -> GE2E:
        self._network.to(device)
        self._half = None
        return self

    @torch.no_grad()
    def embed_batch(
        self, waves: Sequence[Waveform], names: Sequence[str] | None = None
    ) -> Tensor:
        names = names or ["enrolment"] * len(waves)
        trimmed = [
            raise_level(trim_silence(self._tensor(wave), name))
            for wave, name in zip(waves, names, strict=True)
        ]
        return self.embed_trimmed(trimmed)

    @torch.no_grad()
    def embed_trimmed(self, waves: Sequence[Tensor]) -> Tensor:
        """`embed_batch` of waveforms without silence whose level is raised already."""
        pieces = [self._pieces(wave) for wave in waves]
        vectors = self._run(torch.cat(pieces), self._network)  # [sum of pieces, D]
        parts = vectors.split([len(piece) for piece in pieces])
        return unit(torch.stack([part.mean(0) for part in parts]))  # [B, D]

    @torch.no_grad()
    def windows_batch(
        self,
        mixtures: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float | None = None,
    ) -> Tensor:
        check_hop(hop)
        mixtures = raise_level(self._tensor(mixtures))
        batch, samples = mixtures.shape
        count = -(-samples // hop) + 1
        seconds = window_seconds or self.window_seconds
        step, half = hop // HOP, round(seconds * SAMPLE_RATE / HOP / 2)
        mel = mel_power(mixtures)  # [B, T, M]
        # The spectrum of the silence outside the mixture is zero.
        missing = (count - 1) * step + half - mel.shape[1]
        mel = nn.functional.pad(mel, (0, 0, half, max(missing, 0)))
        windows = mel.unfold(1, 2 * half, step)[:, :count]  # [B, K, M, W]
        windows = windows.flatten(0, 1).transpose(1, 2)  # [B K, W, M]
        vectors = self._run(windows, self._fast_network())  # [B K, D]
        return vectors.unflatten(0, (batch, count))  # [B, K, D]

    def _tensor(self, wave: Waveform) -> Tensor:
        return torch.as_tensor(wave).to(self.device, torch.float32)

    def _pieces(self, wave: Tensor) -> Tensor:
        """Cut one utterance as the published encoder does: (N,) -> (P, 160, 40)."""
        samples = wave.shape[0]
        starts = piece_starts(samples)
        end = (starts[-1] + PARTIAL_FRAMES) * HOP
        mel = mel_power(nn.functional.pad(wave, (0, max(0, end - samples))))
        return torch.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])

    def _fast_network(self) -> GE2ENetwork:
        """The network with two layers in bfloat16 where the CPU multiplies in it.

        Window vectors are the costly part of preparing a corpus. This takes a
        quarter off; the cosine to float32 stays above 0.999, which it would not
        with the last layer in bfloat16 as well.
        """
        if self.device.type != "cpu" or not _cpu_has_bfloat16():
            return self._network
        if self._half is None:
            self._half = copy.deepcopy(self._network)
            self._half.layers[:-1].bfloat16()
        return self._half

    @staticmethod
    def _run(mel: Tensor, network: GE2ENetwork) -> Tensor:
        """(B, T, 40) -> (B, 256)"""
        chunks = mel.transpose(0, 1).split(_CHUNK, dim=1)
        return torch.cat([network(chunk.contiguous()) for chunk in chunks])


def _cpu_has_bfloat16() -> bool:
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())
