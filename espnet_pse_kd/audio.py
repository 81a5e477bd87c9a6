"""Reading and writing the recipe's audio: 16 kHz, mono, finite."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import temporary_path

SAMPLE_RATE = 16000
"""Sampling rate of every signal in the project, in Hz."""
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000
"""Hz that a recording may have; beyond them resampling would take for ever."""


def is_real(value: object) -> bool:
    """Whether a value is one real number, of Python or NumPy, and no truth value."""
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool)


def check_rate(rate: float, name: str) -> None:
    """Refuse sampling rates that no recording has.

    Args:
        rate: in Hz.
        name: of the argument or file, for the error.

    Raises:
        UserError: it is no number from `LOWEST_RATE` to `HIGHEST_RATE`.
    """
    if not (is_real(rate) and LOWEST_RATE <= rate <= HIGHEST_RATE):
        raise UserError(
            f"{name}: {rate!r:.60}; a rate is {LOWEST_RATE} to {HIGHEST_RATE} Hz"
        )


def read_audio(path: str | Path, start: int = 0, frames: int = -1) -> np.ndarray:
    """Read a mono 16 kHz file.

    Args:
        path: any format that soundfile reads.
        start: first sample to read.
        frames: number of samples to read, -1 for all.

    Returns:
        float32 array of shape (samples,), full scale = 1.

    Raises:
        UserError: the file is missing, unreadable, truncated, empty, not 16 kHz,
            not mono, or holds NaN or infinite samples.
    """
    import soundfile

    if not Path(path).is_file():
        raise UserError(f"{path}: no such audio file; correct the path in its scp")
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate, channels, length = file.samplerate, file.channels, file.frames
            if rate != SAMPLE_RATE:
                raise UserError(
                    f"{path}: {rate} Hz; resample it to {SAMPLE_RATE} Hz "
                    "(for example: sox IN -r 16000 OUT)"
                )
            if channels != 1:
                raise UserError(
                    f"{path}: {channels} channels; keep one "
                    "(for example: sox IN OUT remix 1)"
                )
            wanted = length - start if frames < 0 else frames
            file.seek(start)
            samples = file.read(wanted, dtype="float32")
    except (soundfile.LibsndfileError, RuntimeError) as error:
        reason = str(error).rstrip(".").splitlines()[-1]
        raise UserError(
            f"{path}: not a readable audio file ({reason}); replace or remove it"
        ) from None
    if len(samples) == 0:
        raise UserError(f"{path}: no samples; replace or remove it")
    if len(samples) < wanted:
        raise UserError(
            f"{path}: truncated, {len(samples)} of {wanted} samples; fetch it again"
        )
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: holds NaN or infinite samples; replace or remove it")
    return samples


def write_audio(path: str | Path, samples: np.ndarray, subtype: str = "PCM_16") -> None:
    """Write 16 kHz WAV atomically.

    Args:
        path: file to write; its folder is made.
        samples: (samples,) or (samples, channels), full scale = 1.
        subtype: libsndfile subtype, ``PCM_16`` or ``FLOAT``.

    Raises:
        ValueError: a sample is not finite, or clips in ``PCM_16``.
    """
    import soundfile

    samples = np.asarray(samples)
    peak = float(np.max(np.abs(samples), initial=0.0))
    if not np.isfinite(peak):
        raise ValueError(f"{path}: refusing to write NaN or infinite samples")
    if subtype == "PCM_16" and peak > 1.0:
        raise ValueError(f"{path}: refusing to clip, the peak is {peak:.3f}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        soundfile.write(temporary, samples, SAMPLE_RATE, subtype=subtype, format="WAV")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
