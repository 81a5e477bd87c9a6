"""Networks as step graphs: one hop in, one hop out, the state beside it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

import espnet_pse_kd
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.export.graph import write_model
from espnet_pse_kd.nets.streaming import StreamingNetwork
from espnet_pse_kd.runtime.identity import EncoderIdentity


class _Step(nn.Module):
    """``network.step`` with the fields of its state as single arguments."""

    def __init__(self, network: StreamingNetwork, state_class: type) -> None:
        super().__init__()
        self.network, self.state_class = network, state_class

    def forward(self, frame: Tensor, speaker: Tensor, *state: Tensor) -> tuple:
        output, new = self.network.step(frame, speaker, self.state_class(*state))
        return (output, *new)  # [1, hop], then the state's shapes


def export_student(
    network: StreamingNetwork,
    name: str,
    path: str | Path,
    speaker_encoder: EncoderIdentity,
) -> None:
    """Write a network of `espnet_pse_kd.nets` for `StreamingModel`.

    Inputs: ``frame (1, hop)``, ``speaker (1, D)``, ``state_*``; outputs: ``output
    (1, hop)``, which lags by ``latency - hop`` samples, and ``new_state_*``. Analysis
    and synthesis are inside the graph.

    Args:
        network: trained; it is not changed.
        name: what to call it, such as its name in ``NETWORKS``.
        path: file to write.
        speaker_encoder: the encoder that it was trained with.

    Raises:
        UserError: the network cannot be expressed in ONNX.
        ValueError: a part of its initial state is not filled with one number.
    """
    states = {
        f"state_{field}": part.cpu().float()
        for field, part in network.init_state(1)._asdict().items()
    }
    inputs = {
        "frame": torch.zeros(1, network.hop),
        "speaker": torch.zeros(1, network.speaker_dim),
        **states,
    }
    metadata = {
        "kind": "student",
        "name": name,
        "package_version": espnet_pse_kd.__version__,
        "sample_rate": SAMPLE_RATE,
        "hop": network.hop,
        "latency": network.latency,
        "speaker_encoder": speaker_encoder.name,
        "speaker_digest": speaker_encoder.digest,
        "speaker_dim": network.speaker_dim,
        "parameters": sum(p.numel() for p in network.parameters()),
        "precision": "fp32",
        "initial_state": json.dumps({k: _fill(k, v) for k, v in states.items()}),
    }
    outputs = ["output", *(f"new_{name}" for name in states)]
    write_model(
        _Step(network, type(network.init_state(1))), inputs, outputs, metadata, path
    )


def _fill(name: str, part: Tensor) -> float:
    """The number with which a part of the initial state is filled."""
    first = float(part.flatten()[0])
    if not torch.all(part == first):
        raise ValueError(f"{name}: the initial state is not filled with one number")
    return first
