"""Every metric of one trial that compares an output with the true signals."""

from __future__ import annotations

import numpy as np

from espnet_pse_kd.metrics import frames
from espnet_pse_kd.metrics.leakage import leakage
from espnet_pse_kd.metrics.quality import stoi
from espnet_pse_kd.metrics.separation import level_change, si_sdr
from espnet_pse_kd.metrics.suppression import over_suppression


def separation_scores(
    target: np.ndarray,
    interferer: np.ndarray,
    mixture: np.ndarray,
    output: np.ndarray,
) -> dict[str, float]:
    """Whether the output is the target; arguments as of `score_signals`.

    Returns:
        ``si_sdr, si_sdri, failure, wrong_speaker``, the last two 0/1; NaN where one is
        undefined.
    """
    spoken = bool(np.any(target))
    scores = dict.fromkeys(("si_sdr", "si_sdri", "failure", "wrong_speaker"), np.nan)
    if spoken:
        scores["si_sdr"] = si_sdr(target, output)
    if spoken and np.any(mixture != target):  # otherwise there is nothing to improve
        scores["si_sdri"] = scores["si_sdr"] - si_sdr(target, mixture)
        scores["failure"] = float(scores["si_sdri"] < 0)
    if spoken and np.any(interferer):
        scores["wrong_speaker"] = float(si_sdr(interferer, output) > scores["si_sdr"])
    return scores


def score_signals(
    target: np.ndarray,
    interferer: np.ndarray,
    mixture: np.ndarray,
    output: np.ndarray,
) -> dict[str, float]:
    """All intrusive metrics of one trial; NaN where one is undefined.

    Args:
        target: (N,) target image, exact zeros where absent.
        interferer: (N,) interferer image, exact zeros where absent.
        mixture: (N,)
        output: (N,) what the system made of the mixture.

    Returns:
        The figures of `separation_scores`, ``level_change``, ``stoi``, and those of
        `over_suppression` and `leakage`.
    """
    scores = separation_scores(target, interferer, mixture, output)
    scores["level_change"] = level_change(target, output, frames.active(target))
    scores["stoi"] = stoi(target, output)
    return {
        **scores,
        **over_suppression(target, output, mixture),
        **leakage(target, interferer, mixture, output),
    }
