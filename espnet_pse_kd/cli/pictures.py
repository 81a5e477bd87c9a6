"""Pictures of what enhancement did to a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WINDOW = 512
_WIDEST = 1600  # columns of a spectrogram; more than the screen shows is wasted
_RANGE_DB = 70.0


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """Levels of a 16 kHz signal (N,): float32 (257, T) in dB, T at most 1600."""
    hop = max(_WINDOW // 4, -(-len(wave) // _WIDEST))
    padded = np.pad(wave, (_WINDOW // 2, _WINDOW // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::hop]
    magnitude = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW)))  # [T, F]
    return (20 * np.log10(magnitude + 1e-6)).T.astype(np.float32)


def before_and_after(
    before: np.ndarray,
    after: np.ndarray,
    *voices: tuple[np.ndarray, int],
    begin: float = 0.0,
) -> Figure:
    """Two spectrograms on one scale, and below them where the voice speaks.

    Args:
        before: (N,) at 16 kHz.
        after: (N,) at 16 kHz.
        voices: if it is known: probability (T,) that the enrolled voice speaks, and
            samples between the centres of its frames.
        begin: seconds of the recording before the first sample.
    """
    from matplotlib.figure import Figure

    end = begin + len(before) / SAMPLE_RATE
    figure = Figure(figsize=(10, 6), layout="constrained")
    heights = (3, 3, *(1.2 for _ in voices))
    rows = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    levels = [spectrogram(wave) for wave in (before, after)]
    top = float(levels[0].max())
    for axes, level, title in zip(rows, levels, ("Before", "After")):
        axes.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(begin, end, 0, SAMPLE_RATE / 2000),
            vmin=top - _RANGE_DB,
            vmax=top,
            cmap="magma",
        )
        axes.set(title=title, ylabel="kHz")
    for axes, (voice, hop) in zip(rows[2:], voices, strict=True):
        time = begin + np.arange(len(voice)) * hop / SAMPLE_RATE
        axes.fill_between(time, voice, color="tab:orange", alpha=0.4, linewidth=0)
        axes.plot(time, voice, color="tab:orange", linewidth=1)
        axes.set(title="Enrolled voice speaks (probability)", ylim=(0, 1.02))
    rows[-1].set(xlabel="seconds", xlim=(begin, end))
    return figure
