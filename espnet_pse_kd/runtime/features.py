"""What the speaker encoder hears, in numpy: mel power, speech without its silence."""

from __future__ import annotations

import functools
import math

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError

WINDOW = 400
"""Window of a mel frame in samples (25 ms)."""
HOP = 160
"""Hop of the mel frames in samples (10 ms)."""
BANDS = 40
"""Mel bands of the speaker encoder, and of the published personal VAD."""
MIN_SPEECH_SECONDS = 0.5
"""Least speech from which a speaker can be enrolled."""
LEVEL_DBFS = -30.0
"""The speaker encoder hears quieter speech at this level, louder speech as it is."""

_LINEAR_STEP = 200 / 3  # Slaney's scale: linear below 1 kHz, logarithmic above
_BREAK_HZ = 1000.0
_LOG_STEP = math.log(6.4) / 27

LOUDEST = 1e6
"""Samples beyond it (+120 dBFS) are broken: their power would overflow float32."""

_FRAME = 480  # 30 ms
_RANGE_DB = 30.0
_SILENCE_DBFS = -70.0
_MARGIN = 3
_CHUNK = 4096  # frames per transform: bounds memory

_CLICK_FRAMES, _CLICK_REACH = 3, 8  # frames
_CLICK_HEADROOM = 8.0


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_STEP
    return _BREAK_HZ / _LINEAR_STEP + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = mel - _BREAK_HZ / _LINEAR_STEP
    return np.where(
        above < 0, mel * _LINEAR_STEP, _BREAK_HZ * np.exp(above * _LOG_STEP)
    )


@functools.cache
def mel_filterbank(bands: int = BANDS) -> np.ndarray:
    """Triangular filters, each of unit area over frequency in Hz: float64 (201, M)."""
    bins = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), bands + 2))
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    triangles = np.minimum(rising, falling).clip(0)  # [F, M]
    return triangles * 2 / (edges[2:] - edges[:-2])


def mel_power(wave: np.ndarray) -> np.ndarray:
    """Mel power spectrum; frame ``t`` is centred on sample ``160 t``.

    Args:
        wave: float32 (N,) at 16 kHz, N >= 1. Samples outside it count as zero.

    Returns:
        float32 (T, 40) with ``T = ceil(N / 160) + 1``.
    """
    tail = -len(wave) % HOP
    padded = np.pad(wave, (WINDOW // 2, WINDOW // 2 + tail))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]  # [T, W]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    hann, filters = hann.astype(np.float32), mel_filterbank().astype(np.float32)
    pieces = []
    for start in range(0, len(frames), _CHUNK):
        spectrum = np.fft.rfft(frames[start : start + _CHUNK] * hann)  # [C, F]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        pieces.append(power @ filters)  # [C, M]
    return np.concatenate(pieces)


def trim_silence(wave: np.ndarray, name: str = "enrolment") -> np.ndarray:
    """Cut the silence out of an enrolment by energy alone.

    A frame of 30 ms is kept where its power is above max(95 % quantile of all
    frames - 30 dB, -70 dBFS), or within 90 ms of such a frame.

    Args:
        wave: float32 (N,) at 16 kHz.
        name: what to call it in an error message.

    Returns:
        (N',) with N' a multiple of 480.

    Raises:
        UserError: less than `MIN_SPEECH_SECONDS` is above the threshold, or a sample
            is not finite.
    """
    if wave.ndim != 1:
        raise UserError(
            f"{name}: shape {wave.shape}; pass one channel of shape (samples,)"
        )
    if not np.isfinite(wave).all():
        raise UserError(f"{name}: holds NaN or infinite samples; record it again")
    frames = wave[: len(wave) // _FRAME * _FRAME].reshape(-1, _FRAME)  # [T, 480]
    power = np.square(frames).mean(1)  # [T]
    floor = 10 ** (_SILENCE_DBFS / 10)
    if len(power):
        loud = float(np.quantile(power, 0.95))
        floor = max(floor, loud * 10 ** (-_RANGE_DB / 10))
    active = power > floor
    seconds = int(active.sum()) * _FRAME / SAMPLE_RATE
    if seconds < MIN_SPEECH_SECONDS:
        raise UserError(
            f"{name}: {seconds:.2f} s of speech above {_SILENCE_DBFS:.0f} dBFS; "
            f"enrol with at least {MIN_SPEECH_SECONDS} s, better 5 s"
        )
    near = np.convolve(active, np.ones(2 * _MARGIN + 1), "same") > 0.5
    return frames[near].reshape(-1)


def hold_clicks(wave: np.ndarray) -> np.ndarray:
    """Limit what is loud for less than 0.1 s, such as a knock on the microphone.

    Levels are relative to all of a signal: after one click nothing else would be heard.
    A frame of 30 ms is limited to peaks of 18 dB above the fourth loudest frame within
    a quarter of a second; speech does not reach that. Broken samples become zero.

    Args:
        wave: (N,)

    Returns:
        float32 (N,), the same samples where nothing clicks.
    """
    wave = np.where(np.abs(wave) <= LOUDEST, wave, 0).astype(np.float32)
    padded = np.pad(wave, (0, -len(wave) % _FRAME))
    power = np.square(padded.reshape(-1, _FRAME)).mean(1)  # [T]
    if len(power) <= _CLICK_REACH:
        return wave
    near = np.pad(power, _CLICK_REACH)
    around = np.lib.stride_tricks.sliding_window_view(near, 2 * _CLICK_REACH + 1)
    usual = np.partition(around, -1 - _CLICK_FRAMES)[:, -1 - _CLICK_FRAMES]  # [T]
    limit = np.repeat(_CLICK_HEADROOM * np.sqrt(usual), _FRAME)[: len(wave)]
    return np.clip(wave, -limit, limit)


def raise_level(wave: np.ndarray) -> np.ndarray:
    """Raise (N,) samples below `LEVEL_DBFS` to that level; silence stays silent."""
    power = max(float(np.square(wave).mean()), 1e-20)
    return wave * np.float32(max((10 ** (LEVEL_DBFS / 10) / power) ** 0.5, 1.0))
