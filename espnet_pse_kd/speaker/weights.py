"""Weights of speaker encoders, from either file format.

The package holds every encoder once: what the light runtime runs is read from its ONNX
file here as well.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.runtime.onnxfile import read_model_file


def read_weights(path: Path) -> dict[str, Tensor]:
    """GE2E: one three-layer LSTM and its projection, ``lstm.weight_ih_l2`` etc.

    Args:
        path: ``.safetensors``, or an ``.onnx`` file of
            `espnet_pse_kd.export.export_speaker_encoder`.

    Returns:
        float tensors by name, in the file's precision.

    Raises:
        UserError: the file is missing or damaged, or is no speaker encoder.
    """
    if path.suffix == ".onnx":
        return _published(onnx_tensors(path))
    if not path.is_file():
        raise UserError(f"{path}: no such file; {how_to_install()}")
    from safetensors.torch import load_file

    return load_file(path)


def onnx_tensors(path: Path) -> dict[str, Tensor]:
    """Weights in an exported encoder's file by their names in its module.

    Args:
        path: of `espnet_pse_kd.export.teachers`.

    Returns:
        tensors in the file's precision; 16-bit ones carry the suffix ``.half`` there.

    Raises:
        UserError: the file is missing or damaged, is no speaker encoder, or the
            package onnx is missing.
    """
    try:
        import onnx
    except ImportError:
        raise UserError(
            f"{path}: reading it needs the package onnx; {how_to_install('train')}"
        ) from None
    graph = onnx.load_model_from_string(read_model_file(path, "speaker_encoder").data)
    arrays = {
        weight.name.removesuffix(".half"): onnx.numpy_helper.to_array(weight)
        for weight in graph.graph.initializer
    }
    # Of the others, shapes and constants, none is needed.
    return {k: torch.from_numpy(np.array(v)) for k, v in arrays.items() if "." in k}


def _published(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """From the names and the order of gates of `espnet_pse_kd.export`'s LSTMs."""
    found = {k: v for k, v in tensors.items() if k.startswith("linear.")}
    layers = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
    for layer in sorted(layers):
        prefix = f"layers.{layer}"
        both = tensors[f"{prefix}.bias_l0"][0].chunk(2)  # 2 x [4 H]
        parts = {
            "weight_ih": tensors[f"{prefix}.weight_ih_l0"][0],  # [4 H, I]
            "weight_hh": tensors[f"{prefix}.weight_hh_l0"][0],  # [4 H, H]
            **dict(zip(("bias_ih", "bias_hh"), both, strict=True)),
        }
        for name, gates in parts.items():
            found[f"lstm.{name}_l{layer}"] = _torch_order(gates)
    return found


def _torch_order(gates: Tensor) -> Tensor:
    """Input, output, forget, cell gates to input, forget, cell, output."""
    i, o, f, g = gates.chunk(4)
    return torch.cat([i, f, g, o])
