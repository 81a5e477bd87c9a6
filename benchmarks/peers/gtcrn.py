"""Worker for GTCRN: its checkout's network, and the streaming graph that lies in it.

usage: python -m benchmarks.peers.gtcrn whole|onnx|audio --source FOLDER

16 kHz, not personalized.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.worker import Enhance, hops, serve_audio, serve_signals, timed

if TYPE_CHECKING:
    from torch import nn

RATE, WINDOW, HOP = 16000, 512, 256


def load(source: Path) -> nn.Module:
    """The network with the weights of its checkout."""
    import torch

    sys.path.insert(0, str(source))
    from gtcrn import GTCRN

    file = source / "checkpoints/model_trained_on_dns3.tar"
    network = GTCRN()
    network.load_state_dict(torch.load(file, "cpu", weights_only=True)["model"])
    return network.eval()


def enhanced(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The whole signal, its transforms included: (N,) to (N,)."""
    import torch

    window = torch.hann_window(WINDOW).sqrt()

    @torch.inference_mode()
    def run(samples: np.ndarray) -> np.ndarray:
        wave = torch.from_numpy(samples)
        spectrum = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)
        output = network(torch.view_as_real(spectrum)[None])[0]  # [F, T, 2]
        output = torch.view_as_complex(output.contiguous())
        signal = torch.istft(output, WINDOW, HOP, window=window, length=len(wave))
        return signal.numpy()

    return run


def whole(network: nn.Module) -> Enhance:
    """The whole signal in one call."""
    run = enhanced(network)
    return lambda samples: timed(run, [samples])


def streamed(source: Path) -> Enhance:
    """Hop by hop in onnxruntime, its transforms in NumPy."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = source / "stream/onnx_models/gtcrn_simple.onnx"
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    first, *others = session.get_inputs()
    window = np.sqrt(np.hanning(WINDOW + 1)[:-1]).astype(np.float32)

    def enhance(samples: np.ndarray) -> Iterable[float]:
        state = {one.name: np.zeros(one.shape, np.float32) for one in others}
        past = np.zeros(HOP, np.float32)
        overlap = np.zeros(HOP, np.float32)

        def advance(frame: np.ndarray) -> np.ndarray:
            nonlocal past, overlap
            spectrum = np.fft.rfft(np.concatenate([past, frame]) * window)
            parts = np.stack([spectrum.real, spectrum.imag], -1)[None, :, None]
            output, *values = session.run(
                None, {first.name: parts.astype(np.float32), **state}
            )
            state.update(zip(state, values, strict=True))
            enhanced = np.fft.irfft(output[0, :, 0, 0] + 1j * output[0, :, 0, 1])
            enhanced = enhanced * window
            result = overlap + enhanced[:HOP]
            past, overlap = frame, enhanced[HOP:]
            return result

        return timed(advance, hops(samples, HOP))

    return enhance


def facts(network: nn.Module) -> dict[str, float]:
    """Counted on one second."""
    from espnet_pse_kd.nets.cost import count_macs

    second = np.zeros(RATE, np.float32)
    learned = [p for p in network.parameters() if p.requires_grad]
    return {
        "parameters": sum(p.numel() for p in learned),
        "macs_per_second": count_macs(lambda: [*whole(network)(second)]),
        "latency_ms": 1e3 * WINDOW / RATE,
        "hop_ms": 1e3 * HOP / RATE,
    }


def main() -> None:
    """Serve one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=["whole", "onnx", "audio"])
    parser.add_argument("--source", type=Path, required=True)
    args = parser.parse_args()
    if args.runtime == "onnx":
        # What the network says of itself stands in its other row: no torch in here.
        serve_audio(dict, RATE, streamed(args.source))
        return
    network = load(args.source)
    if args.runtime == "audio":
        serve_signals(RATE, enhanced(network))
        return
    serve_audio(partial(facts, network), RATE, whole(network))


if __name__ == "__main__":
    main()
