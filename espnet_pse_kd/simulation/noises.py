"""Noise: stretches of recordings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.simulation.mixing import power

if TYPE_CHECKING:
    from espnet_pse_kd.simulation.split import Inventory

_AUDIBLE = 1e-2
_LONGEST_CACHED = 60 * SAMPLE_RATE


@functools.lru_cache(maxsize=64)
def _cached(path: str) -> np.ndarray:
    return read_audio(path)


def _read(path: str, total: int, start: int, frames: int) -> np.ndarray:
    if total <= _LONGEST_CACHED:
        return _cached(path)[start : start + frames]
    return read_audio(path, start, frames)


def loop(x: np.ndarray, samples: int) -> np.ndarray:
    """Repeat ``x`` up to ``samples``, cross-faded over up to 50 ms at every joint."""
    fade = min(SAMPLE_RATE // 20, len(x) // 4)
    ramp = np.sqrt(np.linspace(0, 1, fade, dtype=np.float32))
    period = len(x) - fade
    cycle = x[:period].copy()
    cycle[:fade] = cycle[:fade] * ramp + x[period:] * ramp[::-1]
    return np.resize(cycle, samples)


def cut_noise(
    inventory: Inventory, nid: str, at: float, samples: int, speed: float = 1.0
) -> np.ndarray:
    """A stretch of a noise recording, repeated where the recording is shorter.

    Recordings padded with silence are common: a stretch more than 20 dB below its
    recording (of which up to a minute is looked at) is moved to the loudest place.

    Args:
        inventory: knows the recording.
        nid: its key.
        at: where the stretch starts, from 0 (the start) to 1.
        samples: its length.
        speed: how fast it is played.

    Returns:
        float32 (samples,)
    """
    if speed != 1:
        import soxr

        # A little more than needed: the resampler's length is right up to a sample.
        stretch = cut_noise(inventory, nid, at, int(samples * speed) + 8)
        return soxr.resample(stretch, speed, 1.0, quality="MQ")[:samples]
    path, total = inventory.noises[nid], inventory.noise_samples[nid]
    start = int(at * max(0, total - samples))
    stretch = _read(path, total, start, min(samples, total))
    if len(stretch) < samples:
        return loop(np.roll(stretch, int(at * len(stretch))), samples)
    around = _read(
        path, total, max(0, min(start, total - _LONGEST_CACHED)), _LONGEST_CACHED
    )
    if power(stretch) < _AUDIBLE * power(around):
        energy = np.cumsum(np.square(around, dtype=np.float64))
        loudest = int(
            np.argmax(energy[samples - 1 :] - np.append(0, energy[:-samples]))
        )
        stretch = around[loudest : loudest + samples]
    return stretch.copy()
