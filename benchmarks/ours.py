"""Worker of our own environment: our networks in PyTorch and ONNX, TD-SpeakerBeam.

usage: python -m benchmarks.ours RUNTIME NETWORK [--packed FOLDER_OR_ZIP] [--onnx FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import networks
from benchmarks.worker import Enhance, hops, serve_audio, timed, unit_vector
from espnet_pse_kd.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from torch import nn

WHOLE, STEP, ONNX, STOCK = "whole", "step", "onnx", "stock"


def whole(network: nn.Module) -> Enhance:
    """The whole signal in one call."""
    import torch

    speaker = torch.from_numpy(unit_vector(network.speaker_dim))[None]

    @torch.inference_mode()
    def enhance(samples: np.ndarray) -> list[float]:
        mixture = torch.from_numpy(samples)[None]
        return [*timed(lambda x: network(x, speaker), [mixture])]

    return enhance


def step(network: nn.Module) -> Enhance:
    """Hop by hop in PyTorch."""
    import torch

    speaker = torch.from_numpy(unit_vector(network.speaker_dim))[None]

    @torch.inference_mode()
    def enhance(samples: np.ndarray) -> list[float]:
        state = network.init_state(1)

        def advance(frame: torch.Tensor) -> None:
            nonlocal state
            _, state = network.step(frame, speaker, state)

        frames = torch.from_numpy(hops(samples, network.hop))
        return [*timed(advance, frames[:, None])]

    return enhance


def streamed(path: Path) -> Enhance:
    """Hop by hop through the runtime, as a live stream; needs no torch."""
    from espnet_pse_kd.runtime.model import StreamingModel
    from espnet_pse_kd.runtime.stream import EnhancerStream

    model = StreamingModel(path)
    speaker = unit_vector(model.speaker_dim)

    def enhance(samples: np.ndarray) -> Iterable[float]:
        stream = EnhancerStream(model, speaker)
        return timed(stream.process, hops(samples, model.hop))

    return enhance


def stock(network: nn.Module) -> Enhance:
    """ESPnet's own extraction model, given a whole signal and a speaker vector."""
    import torch

    speaker = torch.from_numpy(unit_vector(256))[None, None]  # [B, 1, D]
    one = torch.ones(1, dtype=torch.long)

    @torch.inference_mode()
    def enhance(samples: np.ndarray) -> list[float]:
        mixture = torch.from_numpy(samples)[None]
        length = one * len(samples)

        def run(x: torch.Tensor) -> None:
            network.forward_enhance(x, length, [speaker], [one])

        return [*timed(run, [mixture])]

    return enhance


def facts(network: nn.Module) -> dict[str, float]:
    """What a row says of a network of ours."""
    from espnet_pse_kd.nets.cost import macs_per_second

    return {
        "parameters": networks.size(network),
        "macs_per_second": macs_per_second(network),
        "latency_ms": 1e3 * network.latency / SAMPLE_RATE,
        "hop_ms": 1e3 * network.hop / SAMPLE_RATE,
    }


def _stock_facts(network: nn.Module) -> dict[str, float | str]:
    from espnet_pse_kd.nets.cost import count_macs

    second = np.zeros(SAMPLE_RATE, np.float32)
    return {
        "parameters": networks.size(network),
        "macs_per_second": count_macs(lambda: [*stock(network)(second)]),
        "latency_ms": "whole signal",
    }


def main() -> None:
    """Serve one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=[WHOLE, STEP, ONNX, STOCK])
    parser.add_argument("network")
    parser.add_argument("--packed", type=Path)
    parser.add_argument("--onnx", type=Path)
    args = parser.parse_args()
    if args.runtime == ONNX:
        # What a network says of itself stands in its PyTorch rows: no torch in here.
        serve_audio(dict, SAMPLE_RATE, streamed(args.onnx))
        return
    if args.runtime == STOCK:
        from espnet_pse_kd.espnet.tasks import PSETask

        # Our YAML has the sizes of ESPnet's recipe.
        model = networks.build(PSETask, networks.config_of(args.network)).eval()
        serve_audio(partial(_stock_facts, model), SAMPLE_RATE, stock(model))
        return
    network = networks.load(args.network, args.packed)
    enhance = whole if args.runtime == WHOLE else step
    serve_audio(partial(facts, network), SAMPLE_RATE, enhance(network))


if __name__ == "__main__":
    main()
