"""DistillMOS: overall quality of a clip, predicted by a small network."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io

import numpy as np
from numpy.typing import ArrayLike

from espnet_pse_kd.errors import UserError


def check() -> None:
    """That DistillMOS can be loaded.

    Raises:
        UserError: it is not installed.
    """
    if importlib.util.find_spec("distillmos") is None:
        raise UserError(
            "DistillMOS: distillmos is not installed; pip install distillmos, or give "
            "--dnsmos_trials 0"
        )


def distillmos(clip: ArrayLike) -> float:
    """DistillMOS of one clip (Stahl and Gamper, arXiv 2502.05356).

    The network is that of the distillmos package. It hears crops of 7.68 s, at most a
    second apart, each brought to full scale, and its scores are averaged.

    Args:
        clip: (N,) at 16 kHz.

    Returns:
        MOS, 1..5.

    Raises:
        UserError: it is not installed.
    """
    import torch

    samples = torch.from_numpy(np.asarray(clip, np.float32))
    with torch.inference_mode():
        return float(_network()(samples[None]))


@functools.cache
def _network():
    check()
    import distillmos as package

    with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
        return package.ConvTransformerSQAModel().eval()
