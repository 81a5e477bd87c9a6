"""Worker for Hush: DeepFilterNet3 retrained to remove other talkers, ONNX with state.

usage: python -m benchmarks.peers.hush [audio]

16 kHz, not personalized. The plugin's default mixes half of the input back in
(``strength=0.5``); here its network is heard alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial

import numpy as np
from livekit.plugins.hush._hush_model import HushModel, HushSession

from benchmarks.worker import hops, serve_audio, serve_signals, timed

RATE, WINDOW, HOP = 16000, 320, 160
DELAY = WINDOW - HOP
"""Samples by which its output is late."""
FACTS = {"latency_ms": 1e3 * WINDOW / RATE, "hop_ms": 1e3 * HOP / RATE}


def enhance(model: HushModel, samples: np.ndarray) -> Iterable[float]:
    """Hop by hop, from a fresh state."""
    return timed(HushSession(model).process_frame, hops(samples, HOP))


def enhanced(model: HushModel, samples: np.ndarray) -> np.ndarray:
    """The whole signal from a fresh state, aligned: (N,) to (N,)."""
    session = HushSession(model)
    padded = np.pad(samples, (0, DELAY + HOP))
    output = [session.process_frame(hop) for hop in hops(padded, HOP)]
    return np.concatenate(output)[DELAY : DELAY + len(samples)]


if __name__ == "__main__":
    model = HushModel()
    if sys.argv[1:] == ["audio"]:
        serve_signals(RATE, partial(enhanced, model))
    else:
        serve_audio(lambda: FACTS, RATE, partial(enhance, model))
