"""What every speaker encoder offers, and what all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError

Waveform = Tensor | np.ndarray
"""Samples at the encoder's rate, full scale = 1."""

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
MIN_SPEECH_SECONDS = 0.5
"""Least speech from which a speaker can be enrolled."""

_FRAME = 480  # 30 ms
_RANGE_DB = 30.0
_SILENCE_DBFS = -70.0
_MARGIN = 3


class SpeakerEncoder(ABC):
    """A frozen network that maps speech to a unit vector per speaker.

    It is deliberately no `torch.nn.Module`: a network that holds one neither trains
    it nor saves it.

    Attributes:
        name: what `load_speaker_encoder` was given.
        dim: size D of a vector.
        sample_rate: rate of the waveforms, in Hz.
    """

    name: str
    dim: int
    sample_rate: int = SAMPLE_RATE

    @abstractmethod
    def to(self, device: str | torch.device) -> SpeakerEncoder:
        """Move the network to a device; returns itself."""

    @abstractmethod
    def embed_batch(
        self, waves: Sequence[Waveform], names: Sequence[str] | None = None
    ) -> Tensor:
        """Vectors of whole utterances, which may differ in length.

        Args:
            waves: B arrays of shape (N,).
            names: what to call each utterance in an error message.

        Returns:
            float32 (B, D), unit norm.

        Raises:
            UserError: an utterance holds less than `MIN_SPEECH_SECONDS` of activity,
                or a sample that is not finite.
        """

    @abstractmethod
    def windows_batch(
        self,
        mixtures: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float = WINDOW_SECONDS,
    ) -> Tensor:
        """Vectors of sliding windows; window ``k`` is centred on sample ``hop * k``.

        Args:
            mixtures: (B, N) mixtures of equal length.
            hop: samples between centres, a multiple of 160.
            window_seconds: length of a window.

        Returns:
            float32 (B, K, D), unit norm, ``K = ceil(N / hop) + 1``. A window in
            which nothing is heard still gets a unit vector, of no meaning.
        """

    def embed(self, wave: Waveform, name: str = "enrolment") -> Tensor:
        """Vector of one utterance, see `embed_batch`: (N,) -> (D,)."""
        return self.embed_batch([wave], [name])[0]

    def windows(
        self,
        wave: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float = WINDOW_SECONDS,
    ) -> Tensor:
        """Window vectors of one mixture, see `windows_batch`: (N,) -> (K, D)."""
        return self.windows_batch(torch.as_tensor(wave)[None], hop, window_seconds)[0]


def unit(vectors: Tensor) -> Tensor:
    """Scale (..., D) vectors to unit norm; a zero vector becomes a uniform one."""
    norm = vectors.norm(dim=-1, keepdim=True)
    uniform = torch.full_like(vectors, vectors.shape[-1] ** -0.5)
    return torch.where(norm > 0, vectors / norm.clamp_min(1e-12), uniform)


def trim_silence(wave: Tensor, name: str = "enrolment") -> Tensor:
    """Cut the silence out of an enrolment by energy alone.

    A frame of 30 ms is kept where its power is above max(95 % quantile of all
    frames - 30 dB, -70 dBFS), or within 90 ms of such a frame.

    Args:
        wave: (N,)
        name: what to call it in an error message.

    Returns:
        (N',) with N' a multiple of 480.

    Raises:
        UserError: less than `MIN_SPEECH_SECONDS` is above the threshold, or a sample
            is not finite.
    """
    if wave.dim() != 1:
        raise UserError(
            f"{name}: shape {tuple(wave.shape)}; pass one channel of shape (samples,)"
        )
    if not torch.isfinite(wave).all():
        raise UserError(f"{name}: holds NaN or infinite samples; record it again")
    frames = wave[: wave.shape[0] // _FRAME * _FRAME].reshape(-1, _FRAME)  # [T, 480]
    power = frames.square().mean(1)
    floor = 10 ** (_SILENCE_DBFS / 10)
    if len(power):
        floor = max(floor, float(power.quantile(0.95)) * 10 ** (-_RANGE_DB / 10))
    active = power > floor
    seconds = int(active.sum()) * _FRAME / SAMPLE_RATE
    if seconds < MIN_SPEECH_SECONDS:
        raise UserError(
            f"{name}: {seconds:.2f} s of speech above {_SILENCE_DBFS:.0f} dBFS; "
            f"enrol with at least {MIN_SPEECH_SECONDS} s, better 5 s"
        )
    kept = torch.nn.functional.max_pool1d(
        active.float()[None, None], 2 * _MARGIN + 1, 1, _MARGIN
    )[0, 0]
    return frames[kept > 0].reshape(-1)
