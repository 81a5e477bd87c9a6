"""What lies between a microphone and the listener: a telephone line."""

from __future__ import annotations

import functools

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.simulation.mixing import filter_centred

TELEPHONE_BAND = (300.0, 3400.0)
_MU = 255.0


@functools.lru_cache(maxsize=1)
def _telephone_taps() -> np.ndarray:
    from scipy.signal import firwin

    taps = firwin(257, TELEPHONE_BAND, pass_zero=False, fs=SAMPLE_RATE)
    return taps.astype(np.float32)


def band_limited(x: np.ndarray) -> np.ndarray:
    """The telephone band of a signal (samples,), without delay."""
    return filter_centred(x, _telephone_taps()).astype(np.float32)


def mu_law(x: np.ndarray) -> np.ndarray:
    """8-bit mu-law (G.711) coding and decoding of a signal within full scale."""
    magnitude = np.log1p(_MU * np.abs(x).clip(max=1.0)) / np.log1p(_MU)
    coded = np.round(np.sign(x) * magnitude * 127) / 127
    decoded = np.expm1(np.abs(coded) * np.log1p(_MU)) / _MU
    return (np.sign(coded) * decoded).astype(np.float32)
