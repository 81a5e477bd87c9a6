"""Signal operations of the simulation: convolve, pause, scale and mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import fft

from espnet_pse_kd.activity import activity, frame_power
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.simulation.rooms import LEAD

PEAK = 0.98
"""No written signal goes above this; the level of a mixture that would is lowered."""
EARLY_SECONDS = 0.05
DIRECT = np.zeros(LEAD + 1, np.float32)
"""The response of no room at all: the direct sound at its usual place."""
DIRECT[LEAD] = 1.0


def active_power(x: np.ndarray) -> float:
    """Mean power of a clean signal over its own active frames (docs/method.md, 2).

    Args:
        x: (samples,)

    Returns:
        Mean square; 0 for a silent signal.
    """
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0:
        return 0.0
    # At full scale the absolute threshold of `activity` never decides.
    wave = torch.from_numpy(np.ascontiguousarray(x / peak, dtype=np.float32))
    return frame_power(wave)[activity(wave)].mean().item() * peak**2


def power(x: np.ndarray) -> float:
    """Mean square over the whole signal."""
    return float(np.mean(np.square(x, dtype=np.float64)))


def decibel(ratio: float) -> float:
    """``10 log10(ratio)`` of a power ratio."""
    return 10 * float(np.log10(ratio))


def convolve(x: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve (samples,) with (taps,) and keep the first ``samples`` of the result."""
    size = fft.next_fast_len(len(x) + len(response) - 1, real=True)
    spectrum = fft.rfft(x.astype(np.float32), size)
    spectrum *= fft.rfft(response.astype(np.float32), size)
    return fft.irfft(spectrum, size)[: len(x)]


def filter_centred(x: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filter (samples,) with a linear-phase filter, without delaying it."""
    half = len(taps) // 2
    return convolve(np.pad(x, (0, half)), taps)[half:]


def add_noises(parts: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """Add noises of the given relative levels in dB: [(samples,), level] -> (samples,).

    The first keeps its power; a silent noise adds nothing.
    """
    first, _ = parts[0]
    total = first.copy()
    for noise, level in parts[1:]:
        if power(noise) > 0 and power(first) > 0:
            gain = (power(first) / power(noise)) ** 0.5 * 10 ** (level / 20)
            total += np.float32(gain) * noise
    return total


def align_direct(response: np.ndarray) -> np.ndarray:
    """Drop the bulk delay of a measured response: its peak moves to sample `LEAD`."""
    return response[max(0, int(np.abs(response).argmax()) - LEAD) :]


def early(response: np.ndarray) -> np.ndarray:
    """The first 50 ms of an aligned response."""
    return response[: LEAD + round(EARLY_SECONDS * SAMPLE_RATE)]


def quietest(x: np.ndarray, centre: int, radius: int = 4000) -> int:
    """Middle of the quietest 20 ms near ``centre``: a cut is least audible there."""
    width = SAMPLE_RATE // 50
    low, high = max(0, centre - radius), min(len(x), centre + radius)
    energy = np.concatenate(
        [[0.0], np.cumsum(np.square(x[low:high], dtype=np.float64))]
    )
    if len(energy) <= width:
        return centre
    return low + int(np.argmin(energy[width:] - energy[:-width])) + width // 2


def _ramp(length: int) -> np.ndarray:
    return np.linspace(0, 1, min(160, length), dtype=np.float32)


def insert_pause(x: np.ndarray, cut: int, samples: int) -> np.ndarray:
    """Insert ``samples`` zeros before sample ``cut``, fading over 10 ms around it."""
    head, tail = x[:cut].copy(), x[cut:].copy()
    head[-len(_ramp(len(head))) or None :] *= _ramp(len(head))[::-1]
    tail[: len(_ramp(len(tail)))] *= _ramp(len(tail))
    return np.concatenate([head, np.zeros(samples, np.float32), tail])


def silence(x: np.ndarray, start: int, samples: int) -> np.ndarray:
    """Replace a stretch by zeros, fading over 10 ms around it."""
    removed = insert_pause(x[: start + samples], start, 0)[:start]
    tail = x[start + samples :].copy()
    tail[: len(_ramp(len(tail)))] *= _ramp(len(tail))
    return np.concatenate([removed, np.zeros(samples, np.float32), tail])


def place(x: np.ndarray, offset: int, samples: int) -> np.ndarray:
    """Put ``x`` at sample ``offset`` of a silent signal of ``samples`` samples."""
    result = np.zeros(samples, np.float32)
    part = x[: samples - offset]
    result[offset : offset + len(part)] = part
    return result


class Gains(NamedTuple):
    """Factors of target, interferer and noise."""

    target: float
    interferer: float
    noise: float


def mixing_gains(
    target: np.ndarray | None,
    interferer: np.ndarray | None,
    noise: np.ndarray | None,
    sir: float,
    snr: float,
) -> Gains:
    """Factors that bring the images to the asked ratios, before the level is set.

    SIR compares the *active* powers: the target's over the target's active frames
    with the interferer's over the interferer's active frames, so that neither's
    pauses count. SNR compares the target's active power with the mean power of the
    noise over the whole signal. All are taken at the full room images. Without a
    target the interferer is the reference of the SNR.

    Args:
        target: (samples,) or None where absent; likewise the others.
        sir: dB.
        snr: dB.
    """
    reference = interferer if target is None else target
    assert reference is not None

    def factor(power_now: float, power_wanted: float) -> float:
        return (power_wanted / power_now) ** 0.5 if power_now > 0 else 0.0

    below = 0.0 if target is None else -sir
    return Gains(
        0.0 if target is None else factor(active_power(target), 1.0),
        0.0
        if interferer is None
        else factor(active_power(interferer), 10 ** (below / 10)),
        0.0 if noise is None else factor(power(noise), 10 ** (-snr / 10)),
    )


def level_gain(mixture: np.ndarray, level: float, peak: float) -> float:
    """Factor that brings a mixture to ``level`` dBFS, less where ``peak`` would clip.

    Args:
        mixture: (samples,), its mean power over the whole signal is the level.
        level: dBFS.
        peak: largest absolute value of all signals that are scaled together.
    """
    gain = 10 ** (level / 20) / power(mixture) ** 0.5
    return min(gain, PEAK / peak)


def equalizer(rng: np.random.Generator, spread_db: float = 4.0) -> np.ndarray:
    """Random smooth linear-phase equalizer (129,): +-``spread_db`` at each octave."""
    octaves = np.array([0, 125, 250, 500, 1000, 2000, 4000, 8000.0])
    gains = rng.uniform(-spread_db, spread_db, len(octaves))
    grid = np.linspace(0, 8000, 257)
    curve = np.interp(np.log2(grid + 60), np.log2(octaves + 60), gains)
    taps = np.fft.irfft(10 ** (curve / 20))
    return (np.roll(taps, 64)[:129] * np.hanning(129)).astype(np.float32)
