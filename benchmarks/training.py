"""Worker for steps of training: the method's own (soft gate), with random signals.

usage: python -m benchmarks.training YAML --batch B --seconds S
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.worker import Measured, serve, signal
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.espnet.enh_model import ESPnetPSEModel
from espnet_pse_kd.espnet.tasks import PersonalVADTask, PSETask
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.speaker import load_speaker_encoder
from espnet_pse_kd.utils.yamls import read_config


class Stopwatch:
    """A function whose calls are timed."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._seconds = function, 0.0

    def __call__(self, *args: Any) -> Any:
        start = time.perf_counter()
        result = self._function(*args)
        self._seconds += time.perf_counter() - start
        return result

    def lap(self) -> float:
        """Seconds in calls since the last lap."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def build(config: Path) -> ESPnetPSEModel:
    """The student with a soft gate and a teacher of the default kind, both seeded."""
    model = networks.build(PSETask, config)
    model.set_teacher(
        networks.build(PersonalVADTask, networks.ROOT / "conf/train_pvad.yaml")
    )
    model.gate = Gate(mode="soft")
    return model.train()


def batch_of(size: int, seconds: float) -> dict[str, Tensor]:
    """Random signals; everything that ESPnet's loader hands on but window vectors."""
    samples = round(seconds * SAMPLE_RATE)
    source = torch.from_numpy(signal(2 * size * seconds, SAMPLE_RATE))
    target, interferer = source.reshape(2, size, samples)  # [B, N]
    vectors = torch.nn.functional.normalize(torch.randn(size, 1, 256), dim=-1)
    return {
        "speech_mix": target + interferer,
        "speech_ref1": target,
        "interf_ref1": interferer,
        "enroll_ref1": vectors,
    }


def step_of(
    model: ESPnetPSEModel, batch: dict[str, Tensor], lr: float, clip: float
) -> Callable[[], Measured]:
    """A function that makes one step of training, and tells what took how long.

    Args:
        model: from `build`.
        batch: from `batch_of`.
        lr: Adam's learning rate.
        clip: largest norm of the gradient.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr)
    windows = Stopwatch(load_speaker_encoder().windows_batch)
    # An attribute of the instance comes before the method of its class.
    model.teacher.posterior = teacher = Stopwatch(model.teacher.posterior)

    def train(vectors: Tensor) -> None:
        loss, *_ = model(**batch, window_vectors=vectors)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()

    step = Stopwatch(train)

    def run() -> Measured:
        step(windows(batch["speech_mix"]))
        return {
            "calls": [step.lap()],
            "teacher": [teacher.lap()],
            "windows": [windows.lap()],
        }

    return run


def main() -> None:
    """Serve one row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    args = parser.parse_args()
    config = read_config(args.config)
    model = build(args.config)
    facts = {"batch": args.batch, "seconds": args.seconds}  # of each sample
    lr, clip = float(config["optim_conf"]["lr"]), float(config["grad_clip"])
    step = step_of(model, batch_of(args.batch, args.seconds), lr, clip)
    serve(lambda: facts, lambda _: step())


if __name__ == "__main__":
    main()
