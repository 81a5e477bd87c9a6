"""Worker for PureSound's causal SkiM for target speakers, from its checkout.

usage: python -m benchmarks.peers.puresound whole|step --source FOLDER

16 kHz, personalized; its weights are seeded, as those of our networks. The speaker
network works on the enrolment alone, so its cost and parameters are left out.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.worker import Enhance, hops, serve_audio, timed, unit_vector
from espnet_pse_kd.nets.cost import count_macs

RATE = 16000


def load(source: Path) -> nn.Module:
    """The model in its own configuration, as its recipe names it."""
    sys.path[:0] = [str(source), str(source / "egs/tse")]
    from model import init_model

    torch.manual_seed(0)
    model = init_model("tse_skim_v0_causal", verbose=False)
    return model.eval().requires_grad_(False)


def _enhanced(model: nn.Module, features: Tensor, mask: Tensor) -> Tensor:
    masked = features * model.get_mask(mask, model.mask_constraint)
    return model.encoder.inverse(masked)  # [B, N]


def _speaker(model: nn.Module) -> Tensor:
    return torch.from_numpy(unit_vector(model.masker.embed_dim))[None]  # [B, D]


def whole(model: nn.Module) -> Enhance:
    """The whole signal in one call."""
    speaker = _speaker(model)

    @torch.inference_mode()
    def run(samples: np.ndarray) -> None:
        features = model.encoder(torch.from_numpy(samples)[None])  # [B, C, T]
        _enhanced(model, features, model.masker(features, speaker))

    return lambda samples: timed(run, [samples])


def step(model: nn.Module) -> Enhance:
    """Frame by frame, with its own streaming masker."""
    from puresound.streaming.skim_inference import StreamingSkiM

    # It only adds methods to the offline masker, which has the configuration.
    model.masker.__class__ = StreamingSkiM
    speaker, hop = _speaker(model), model.encoder.hop_length

    @torch.inference_mode()
    def enhance(samples: np.ndarray) -> list[float]:
        model.masker.init_status()
        past = torch.zeros(1, model.encoder.win_length - hop)
        overlap = torch.zeros(1, hop)

        def advance(frame: Tensor) -> Tensor:
            nonlocal past, overlap
            window = torch.cat([past, frame], 1)  # [B, W]
            features = model.encoder(window)  # [B, C, 1]
            output = _enhanced(
                model, features, model.masker.step_frame(features, speaker)
            )
            result = overlap + output[:, :hop]
            past, overlap = window[:, hop:], output[:, hop:]
            return result

        frames = torch.from_numpy(hops(samples, hop))
        return [*timed(advance, frames[:, None])]

    return enhance


def facts(model: nn.Module) -> dict[str, float]:
    """Counted on one second."""
    second = np.zeros(RATE, np.float32)
    parts = (model.encoder, model.masker)
    return {
        "parameters": sum(p.numel() for part in parts for p in part.parameters()),
        "macs_per_second": count_macs(lambda: [*whole(model)(second)]),
        "latency_ms": 1e3 * model.encoder.win_length / RATE,
        "hop_ms": 1e3 * model.encoder.hop_length / RATE,
    }


def main() -> None:
    """Serve one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime", choices=["whole", "step"])
    parser.add_argument("--source", type=Path, required=True)
    args = parser.parse_args()
    model = load(args.source)
    enhance = whole(model) if args.runtime == "whole" else step(model)
    serve_audio(partial(facts, model), RATE, enhance)


if __name__ == "__main__":
    main()
