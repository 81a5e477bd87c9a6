"""Every network exported once for all tests: seeded, untrained, no weight neutral."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from test_nets import SMALL
from torch import nn

from espnet_pse_kd.export import (
    export_pvad,
    export_speaker_encoder,
    export_student,
    quantize,
)
from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.speaker import identity_of

_FOLDER = tempfile.TemporaryDirectory(prefix="exported")
DEFAULT = "mingru"
"""The network of live use is tested at its real size."""
FEWER = {"e3net": {"blocks": 2}, "pdccrn": {"layers": 1}}
"""An export takes as long as the network has operators."""
ENCODER = identity_of("ge2e")
"""Whose vectors all of them hear."""
PVAD_CONF = {
    "conditioning": "set",
    "hidden": 8,
    "layers": 1,
    "bidirectional": True,
    "stack": 2,
}


def seeded(module: nn.Module) -> nn.Module:
    """Move every parameter away from its start, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return module.eval().requires_grad_(False)


@functools.cache
def network(name: str) -> nn.Module:
    """A network, small but for `DEFAULT`."""
    torch.manual_seed(0)
    options = {} if name == DEFAULT else SMALL.get(name, [{}])[0] | FEWER.get(name, {})
    return seeded(NETWORKS[name](**options))


@functools.cache
def student(name: str = DEFAULT) -> Path:
    """The exported file of `network`."""
    path = Path(_FOLDER.name) / f"{name}.onnx"
    export_student(network(name), name, path, ENCODER)
    return path


@functools.cache
def int8(name: str = DEFAULT) -> Path:
    """The file of `student`, quantized."""
    path = Path(_FOLDER.name) / f"{name}_int8.onnx"
    quantize(student(name), path)
    return path


@functools.cache
def speaker_encoder() -> Path:
    """The exported GE2E encoder."""
    path = Path(_FOLDER.name) / "speaker_encoder.onnx"
    export_speaker_encoder(path)
    return path


@functools.cache
def pvad() -> tuple[PersonalVAD, Path]:
    """A personal VAD of the default kind, and its exported file."""
    torch.manual_seed(0)
    path = Path(_FOLDER.name) / "pvad.onnx"
    module = seeded(PersonalVAD(**PVAD_CONF))
    export_pvad(module, path, ENCODER)
    return module, path


def speech(samples: int, seed: int = 0) -> np.ndarray:
    """Noise in syllables, whose level wanders by 40 dB: float32 (samples,)."""
    rng = np.random.default_rng(seed)
    knots = rng.uniform(-3, -1, samples // 1600 + 2)
    level = np.interp(np.arange(samples) / 1600, np.arange(len(knots)), knots)
    return (rng.standard_normal(samples) * 10**level).astype(np.float32)


def unit_vector(dim: int = 256, seed: int = 0) -> np.ndarray:
    """A speaker vector: float32 (dim,)."""
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
