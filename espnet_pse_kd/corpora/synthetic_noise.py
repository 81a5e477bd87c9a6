"""Background noises of several kinds, synthesized; none of them contains speech."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

from espnet_pse_kd.audio import SAMPLE_RATE

_Rng = np.random.Generator


def _coloured(rng: _Rng, samples: int, slope: float) -> np.ndarray:
    """Gaussian noise whose power falls with frequency as ``f ** -slope``."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    frequency = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / np.maximum(frequency, 30.0) ** (slope / 2), samples)


def _slow(rng: _Rng, samples: int, hertz: float) -> np.ndarray:
    """A random curve of unit variance that changes about ``hertz`` times a second."""
    points = max(4, int(samples / SAMPLE_RATE * hertz * 2) + 2)
    grid = np.linspace(0, points - 1, samples)
    return np.interp(grid, np.arange(points), rng.standard_normal(points))


def _band(x: np.ndarray, low: float, high: float) -> np.ndarray:
    sos = signal.butter(2, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos")
    return signal.sosfilt(sos, x)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.mean(x**2))


def white(rng: _Rng, samples: int) -> np.ndarray:
    """Noise between white and slightly tilted."""
    return _coloured(rng, samples, rng.uniform(-0.3, 0.5))


def pink(rng: _Rng, samples: int) -> np.ndarray:
    """Noise with about 3 dB less per octave."""
    return _coloured(rng, samples, rng.uniform(0.8, 1.4))


def brown(rng: _Rng, samples: int) -> np.ndarray:
    """Noise with about 6 dB less per octave."""
    return _coloured(rng, samples, rng.uniform(1.6, 2.2))


def hum(rng: _Rng, samples: int) -> np.ndarray:
    """A machine: harmonics of a fundamental that drifts, over faint noise."""
    time_ = np.arange(samples) / SAMPLE_RATE
    drift = 1 + 0.01 * np.cumsum(_slow(rng, samples, 1)) / SAMPLE_RATE
    phase = 2 * np.pi * rng.uniform(45, 130) * time_ * drift
    count = int(rng.integers(8, 25))
    weights = rng.uniform(0.2, 1, count) * np.arange(1, count + 1) ** -rng.uniform(
        0.3, 1
    )
    tones = sum(
        w * np.sin(k * phase + rng.uniform(0, 6.28)) for k, w in enumerate(weights, 1)
    )
    return _unit(tones) + rng.uniform(0.1, 0.5) * _unit(pink(rng, samples))


def modulated(rng: _Rng, samples: int) -> np.ndarray:
    """Coloured noise whose level swings, as of an engine or of waves."""
    time_ = np.arange(samples) / SAMPLE_RATE
    rate, depth = rng.uniform(0.3, 8), rng.uniform(0.5, 0.95)
    swing = 1 + depth * np.sin(2 * np.pi * rate * time_ + rng.uniform(0, 6.28))
    return swing * _coloured(rng, samples, rng.uniform(0, 1.5))


def clicks(rng: _Rng, samples: int) -> np.ndarray:
    """Impulsive: decaying resonances at random times, as of keys or dishes."""
    hits = np.zeros(samples)
    count = max(2, int(samples / SAMPLE_RATE * rng.uniform(2, 9)))
    hits[rng.integers(samples, size=count)] = rng.exponential(1, count)
    length = int(rng.uniform(0.02, 0.09) * SAMPLE_RATE)
    decay = np.exp(-6 * np.arange(length) / length)
    body = decay * _coloured(rng, length, rng.uniform(0, 1))
    low = rng.uniform(200, 2000)
    body = _band(body, low, min(7500, low * rng.uniform(2, 4)))
    rattle = signal.fftconvolve(hits, body)[:samples]
    return _unit(rattle) + rng.uniform(0.02, 0.2) * _unit(pink(rng, samples))


def rain(rng: _Rng, samples: int) -> np.ndarray:
    """High-pass noise made of dense drops, over a slowly changing hiss."""
    drops = rng.standard_normal(samples) * (
        rng.random(samples) < rng.uniform(0.01, 0.1)
    )
    low = rng.uniform(300, 1200)
    hiss = _unit(_band(rng.standard_normal(samples), low, 7500))
    hiss *= np.exp(0.2 * _slow(rng, samples, 0.5))
    return _unit(_band(drops, low, 7500)) + rng.uniform(0.3, 1) * hiss


def fan(rng: _Rng, samples: int) -> np.ndarray:
    """Broad noise with a resonance, and the tone of the blades."""
    time_ = np.arange(samples) / SAMPLE_RATE
    low = rng.uniform(80, 400)
    air = _unit(_coloured(rng, samples, 1.0))
    air += rng.uniform(0.3, 1) * _unit(_band(air, low, low * rng.uniform(1.5, 4)))
    blade = rng.uniform(60, 220)
    tone = np.sin(2 * np.pi * blade * time_) + 0.4 * np.sin(4 * np.pi * blade * time_)
    return air + rng.uniform(0.1, 0.5) * tone


def traffic(rng: _Rng, samples: int) -> np.ndarray:
    """Rumble with cars that pass: low noise that swells, brighter when near."""
    rumble = _unit(_band(brown(rng, samples), 30, rng.uniform(150, 400)))
    passing = np.maximum(_slow(rng, samples, rng.uniform(0.1, 0.4)), 0) ** 2
    tyres = _unit(_band(rng.standard_normal(samples), 400, rng.uniform(1500, 4000)))
    return rumble + rng.uniform(0.3, 1) * passing * tyres


def wind(rng: _Rng, samples: int) -> np.ndarray:
    """Gusts: low noise with a strongly changing level."""
    gusts = np.exp(0.8 * _slow(rng, samples, rng.uniform(0.4, 1.5)))
    return gusts * _unit(_band(pink(rng, samples), 40, rng.uniform(500, 1500)))


_MAKERS: dict[str, Callable[[_Rng, int], np.ndarray]] = {
    maker.__name__: maker
    for maker in (
        white,
        pink,
        brown,
        hum,
        modulated,
        clicks,
        rain,
        fan,
        traffic,
        wind,
    )
}
KINDS = tuple(_MAKERS)
"""Names of the kinds of noise."""


def synthesize_noise(kind: str, rng: np.random.Generator, samples: int) -> np.ndarray:
    """Synthesize one recording.

    Args:
        kind: one of `KINDS`.
        rng: everything about the noise is drawn from it.
        samples: length at 16 kHz.

    Returns:
        float32 (samples,), RMS -26 dBFS, or lower where the peak would exceed 0.9.
    """
    noise = _MAKERS[kind](rng, samples)
    noise = noise - noise.mean()
    gain = min(10 ** (-26 / 20) / np.sqrt(np.mean(noise**2)), 0.9 / np.abs(noise).max())
    return (gain * noise).astype(np.float32)
