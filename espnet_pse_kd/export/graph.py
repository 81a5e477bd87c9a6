"""From a module to a sealed ONNX file."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.export.lowering import DECOMPOSITIONS
from espnet_pse_kd.export.recurrent import replace_lstms
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.runtime.onnxfile import seal

OPSET = 20
"""onnxruntime has it since 1.17."""
HALF_FROM = 512
"""Weights from which a tensor is stored in 16 bits; fewer are not worth a cast."""


def write_model(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    metadata: Mapping[str, object],
    path: str | Path,
    dynamic_shapes: Mapping[str, Mapping[int, Any]] | None = None,
    half: bool = False,
) -> None:
    """Trace a module, and write it with its metadata.

    Args:
        module: called with ``inputs`` in their order; it is not changed.
        inputs: examples by the names that they get in the file.
        outputs: names of what it returns.
        metadata: what the file says of itself; see `onnxfile.seal`.
        path: file to write; one that stands there is replaced in one move.
        dynamic_shapes: by input, the axes whose length may vary (`torch.export.Dim`).
        half: store large weights in 16 bits; all products stay in 32.

    Raises:
        UserError: the packages that export needs are missing, or the module holds an
            operator that ONNX does not have.
    """
    shapes = None
    if dynamic_shapes is not None:
        shapes = tuple(dict(dynamic_shapes.get(name, {})) for name in inputs)
    module = copy.deepcopy(module).cpu().float().eval().requires_grad_(False)
    replace_lstms(module)
    with _quiet(), torch.no_grad():
        # Windows that functions cache must be real tensors, not the tracer's.
        module(*inputs.values())
        traced = torch.export.export(
            module, tuple(inputs.values()), dynamic_shapes=shapes, strict=False
        )
        lowered = traced.run_decompositions(DECOMPOSITIONS)
        model = _convert(lowered, list(inputs), list(outputs))
    if half:
        model = _halved(model)
    data = seal(model, {key: str(value) for key, value in metadata.items()})
    with atomic_open(path, "wb") as file:
        file.write(data)


def import_onnx() -> ModuleType:
    """The package onnx; UserError: it or onnxscript is missing."""
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"export: the package {error.name!r} is missing; {how_to_install('train')}"
        ) from None
    return onnx


def _convert(
    program: torch.export.ExportedProgram, inputs: list[str], outputs: list[str]
) -> bytes:
    """A serialized ``ModelProto`` without metadata."""
    import_onnx()
    try:
        exported = torch.onnx.export(
            program,
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(
            f"export: ONNX has no form of this network ({reason}); run it in PyTorch, "
            "or add a decomposition to espnet_pse_kd/export/lowering.py"
        ) from error
    assert exported is not None  # dynamo=True without a file name returns the program
    proto = exported.model_proto
    for node in proto.graph.node:
        # Where each operator came from: file names of this machine.
        del node.metadata_props[:]
        node.doc_string = node.name = ""
    # Shapes that any runtime infers, and that torch 2.11 gets wrong for 8 bits.
    del proto.graph.value_info[:]
    del proto.metadata_props[:]
    return proto.SerializeToString()


def _halved(data: bytes) -> bytes:
    """A ``ModelProto`` whose large weights are 16-bit, and cast when it is loaded."""
    onnx = import_onnx()
    model = onnx.load_model_from_string(data)
    casts = []
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        stored = onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half")
        weight.CopyFrom(stored)
        casts.append(
            onnx.helper.make_node(
                "Cast", [stored.name], [name], to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    serialized: bytes = model.SerializeToString()
    return serialized


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about torchvision and about LSTM weights."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
