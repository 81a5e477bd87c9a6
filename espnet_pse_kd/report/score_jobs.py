"""One trial of one row: what it is scored from, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet_pse_kd.metrics import distillmos, quality
from espnet_pse_kd.metrics.intrusive import score_signals
from espnet_pse_kd.report.trials import (
    Signals,
    Trial,
    duration,
    estimate,
    load_signals,
    read_estimate,
)

FACTS = ("target", "interferer", "snr", "sir", "level", "same_gender", "room", "noise")
"""Facts of a trial that go into its row of scores."""


@dataclass(frozen=True)
class Job:
    """One trial of one row to score.

    Attributes:
        trial: the trial.
        row: name of a reference row, or None for a system.
        path: the system's output.
        dry: amplitude of the mixture that is added to the output.
    """

    trial: Trial
    row: str | None
    path: str | None
    dry: float = 0.0

    def output(self, signals: Signals) -> np.ndarray:
        """What the row makes of the trial: (N,)."""
        if self.row is not None:
            return estimate(self.row, signals)
        output = read_estimate(str(self.path), len(signals.mixture))
        # Stage 6 takes the networks' latency out: both are on the same samples.
        return output + np.float32(self.dry) * signals.mixture


def score_job(job: Job) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)  # the work is parallel over trials already
    signals = load_signals(job.trial)
    return {
        "uid": job.trial.uid,
        "scenario": job.trial.scenario,
        "seconds": duration(signals),
        **{name: job.trial.facts.get(name) for name in FACTS},
        "measured_room": str(job.trial.facts.get("room", "")).startswith("measured:"),
        **score_signals(
            signals.target, signals.interferer, signals.mixture, job.output(signals)
        ),
    }


def dnsmos_job(job: Job) -> dict[str, Any]:
    scores = quality.dnsmos(job.output(load_signals(job.trial)))
    return {"uid": job.trial.uid, **{f"dnsmos_{k}": v for k, v in scores.items()}}


def distillmos_job(job: Job) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)  # the work is parallel over trials already
    score = distillmos.distillmos(job.output(load_signals(job.trial)))
    return {"uid": job.trial.uid, "distillmos": score}
