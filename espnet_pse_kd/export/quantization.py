"""Networks with weights of 8 bits."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export.graph import import_onnx
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.runtime.onnxfile import read_model_file, seal

if TYPE_CHECKING:
    from onnx import ModelProto

_OPERATORS = ["MatMul", "Gemm", "LSTM"]


def quantize(path_in: str | Path, path_out: str | Path) -> None:
    """Store the weights of an exported network as int8, one scale per output.

    Inputs of the products are quantized as they come (onnxruntime's dynamic
    quantization). It makes a network fast whose weights do not fit into the caches
    (E3Net: five times); a small one hardly gains anything but a smaller file. A learned
    filterbank keeps its precision, since its rounding is heard as noise: without it
    E3Net's output would be 15 dB farther from that of fp32. Convolutions are left as
    they are.

    The result has operators of onnxruntime's own: no other runtime reads it.

    Args:
        path_in: file of `export_student`, fp32.
        path_out: file to write.

    Raises:
        UserError: ``path_in`` cannot be used or is quantized already, or the packages
            that export needs are missing.
    """
    file = read_model_file(path_in, "student")
    file.check("student")
    if file.metadata["precision"] != "fp32":
        raise UserError(
            f"{path_in}: its precision is {file.metadata['precision']} already; give "
            "the fp32 model"
        )
    model = import_onnx().load_model_from_string(file.data)
    del model.metadata_props[:]
    for index, node in enumerate(model.graph.node):
        # An exported file names none, and what is left out is told by its name.
        node.name = f"node_{index}"
    data = _quantized(model, _filterbanks(model, int(file.metadata["latency"])))
    own = ("producer", "format_version")
    metadata = {key: text for key, text in file.metadata.items() if key not in own}
    with atomic_open(path_out, "wb") as output:
        output.write(seal(data, {**metadata, "precision": "int8"}))


def _filterbanks(model: ModelProto, window: int) -> list[str]:
    """Names of the products whose weights have ``window`` rows or columns."""
    framing = {
        weight.name for weight in model.graph.initializer if window in weight.dims
    }
    return [
        node.name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and framing.intersection(node.input)
    ]


def _quantized(model: ModelProto, excluded: list[str]) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            extra_options={"MatMulConstBOnly": True},
        )
        quantized = import_onnx().load(path)
        del quantized.metadata_props[:]
        return quantized.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice to preprocess the model, which changes nothing."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
