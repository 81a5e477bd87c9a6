"""Noise: stretches of recordings."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import irfft, next_fast_len, rfftfreq

from espnet_pse_kd.audio import SAMPLE_RATE, read_audio
from espnet_pse_kd.simulation.mixing import power

if TYPE_CHECKING:
    from espnet_pse_kd.simulation.split import Inventory
    from espnet_pse_kd.simulation.trial import NoisePart

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


def noise_part(inventory: Inventory, part: NoisePart, samples: int) -> np.ndarray:
    """The sound of a `NoisePart`, recorded or made: float32 (samples,)."""
    if part.noise == "*babble":
        return _babble(inventory, part, samples)
    if part.noise == "*shaped":
        return shaped_noise(round(part.at * 2**31), samples)
    return cut_noise(inventory, part.noise, part.at, samples, part.speed)


def _babble(inventory: Inventory, part: NoisePart, samples: int) -> np.ndarray:
    """Several talkers at one power each; who has little to say says it again."""
    from espnet_pse_kd.simulation.split import read_pieces

    total = np.zeros(samples, np.float32)
    for pieces in part.voices:
        speech = read_pieces(inventory, list(pieces))
        if (own := power(speech)) > 0:
            total += np.resize(speech, samples) / np.float32(own**0.5)
    return total


def shaped_noise(seed: int, samples: int) -> np.ndarray:
    """Gaussian noise with a random spectrum and a random slow envelope.

    The spectrum has a slope of -9 to +3 dB per octave and up to 12 dB of ripple; the
    envelope moves by up to 10 dB, at 0.2 to 5 Hz.

    Returns:
        float32 (samples,), rms about 0.1.
    """
    rng = np.random.default_rng([seed, 41])
    size = next_fast_len(samples, real=True)
    octaves = np.log2(np.maximum(rfftfreq(size, 1 / SAMPLE_RATE), 40.0) / 1000.0)
    knots = np.linspace(octaves[0], octaves[-1], 8)
    ripple = np.interp(octaves, knots, rng.uniform(-12.0, 12.0, 8))
    decibel = rng.uniform(-9.0, 3.0) * octaves + ripple
    noise = rng.standard_normal((2, len(octaves))) * 10 ** (decibel / 20)
    sound = irfft(noise[0] + 1j * noise[1], size)[:samples]
    time = np.arange(samples) / SAMPLE_RATE
    rate, phase = (
        np.exp(rng.uniform(np.log(0.2), np.log(5.0))),
        rng.uniform(0, 2 * np.pi),
    )
    swing = rng.uniform(0.0, 5.0) * np.sin(2 * np.pi * rate * time + phase)
    sound *= 10 ** (swing / 20)
    return (0.1 * sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
