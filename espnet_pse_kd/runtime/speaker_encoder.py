"""The exported speaker encoder: vectors of enrolments and of a mixture's windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_pse_kd.runtime.features import HOP, mel_power, raise_level, trim_silence
from espnet_pse_kd.runtime.onnxfile import read_model_file

WINDOW_HOP = 4000
"""Samples between the centres of window vectors (4 per second)."""
WINDOW_SECONDS = 0.8
"""Default length of the sliding window.

Two speakers of LibriSpeech taking turns of 0.8 to 2.2 s in noise (SNR 0..15 dB): the
cosine of GE2E windows to the enrolment, by itself, tells target from interferer with
AUC 0.838 at 0.8 s, 0.837 at 1.0 s, 0.824 at 1.2 s, 0.785 at 1.6 s. Where the speakers
overlap and the target pauses for 1 to 3 s, 0.8 to 1.2 s are equal (0.772 to 0.776).
The shortest costs least.
"""
PARTIAL_FRAMES = 160
"""Length of the pieces into which an utterance is cut (1.6 s)."""

_PARTIAL_STEP = 77  # frames between pieces: 1.3 per second
_MIN_COVERAGE = 0.75  # share of the last piece that must lie inside the utterance
_CHUNK = 256  # pieces per run: bounds memory


def piece_starts(samples: int) -> list[int]:
    """First frames of an utterance's pieces, as the published GE2E encoder cuts it."""
    frames = samples // HOP + 1
    starts = list(
        range(0, max(1, frames - PARTIAL_FRAMES + _PARTIAL_STEP + 1), _PARTIAL_STEP)
    )
    coverage = (samples / HOP - starts[-1]) / PARTIAL_FRAMES
    if coverage < _MIN_COVERAGE and len(starts) > 1:
        starts.pop()
    return starts


class OnnxSpeakerEncoder:
    """The GE2E encoder of `espnet_pse_kd.speaker.ge2e` in onnxruntime.

    The graph maps mel power ``mel (T, B, 40)`` to unit vectors ``vector (B, 256)``.

    Args:
        path: file that `espnet_pse_kd.export.export_speaker_encoder` wrote.
        threads: CPU threads of one run.

    Attributes:
        name: of the encoder; a profile carries it.
        dim: size D of a vector.
        sample_rate: of the waveforms, in Hz.
        metadata: everything that the file says of itself.

    Raises:
        UserError: the file cannot be used, see `read_model_file`.
    """

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        file = read_model_file(path, "speaker_encoder")
        file.check("speaker_encoder")
        self.path, self.metadata = file.path, file.metadata
        self.name = self.metadata["name"]
        self.dim = int(self.metadata["speaker_dim"])
        self.sample_rate = int(self.metadata["sample_rate"])
        self._session = file.session(threads)

    def embed(self, wave: np.ndarray, name: str = "enrolment") -> np.ndarray:
        """Vector of one utterance.

        Args:
            wave: (N,) samples at ``sample_rate``, full scale 1.
            name: what to call it in an error message.

        Returns:
            float32 (D,), unit norm.

        Raises:
            UserError: it is nearly silent, or holds a sample that is not finite.
        """
        wave = raise_level(trim_silence(np.asarray(wave, np.float32), name))
        starts = piece_starts(len(wave))
        end = (starts[-1] + PARTIAL_FRAMES) * HOP
        mel = mel_power(np.pad(wave, (0, max(0, end - len(wave)))))  # [T, M]
        pieces = np.stack([mel[start : start + PARTIAL_FRAMES] for start in starts])
        mean = self._run(pieces).mean(0)  # [D]
        return mean / np.linalg.norm(mean)

    def windows(
        self,
        wave: np.ndarray,
        hop: int = WINDOW_HOP,
        window_seconds: float = WINDOW_SECONDS,
    ) -> np.ndarray:
        """Vectors of sliding windows; window ``k`` is centred on sample ``hop * k``.

        Args:
            wave: (N,) samples at ``sample_rate``, N >= 1.
            hop: samples between centres, a multiple of 160.
            window_seconds: length of a window.

        Returns:
            float32 (K, D), unit norm, ``K = ceil(N / hop) + 1``. A window in which
            nothing is heard still gets a unit vector, of no meaning.
        """
        if hop % HOP:
            raise ValueError(f"hop must be a multiple of {HOP} samples, not {hop}")
        count = -(-len(wave) // hop) + 1
        step, half = hop // HOP, round(window_seconds * self.sample_rate / HOP / 2)
        mel = mel_power(raise_level(np.asarray(wave, np.float32)))  # [T, M]
        # The spectrum of the silence outside the mixture is zero.
        missing = (count - 1) * step + half - len(mel)
        mel = np.pad(mel, ((half, max(missing, 0)), (0, 0)))
        view = np.lib.stride_tricks.sliding_window_view(mel, 2 * half, 0)
        return self._run(view[::step][:count].swapaxes(1, 2))  # [K, D]

    def _run(self, pieces: np.ndarray) -> np.ndarray:
        """Unit vectors of (P, T, 40) pieces: (P, D)."""
        chunks = np.array_split(pieces, -(-len(pieces) // _CHUNK))
        return np.concatenate([self._vectors(chunk) for chunk in chunks])

    def _vectors(self, pieces: np.ndarray) -> np.ndarray:
        """The same of as many pieces as one run takes."""
        mel = np.ascontiguousarray(pieces.swapaxes(0, 1), np.float32)
        [vectors] = self._session.run(["vector"], {"mel": mel})
        self._session.check("vector", vectors, (len(pieces), self.dim))
        return vectors
