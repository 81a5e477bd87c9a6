"""What every speaker encoder offers, and what all of them share."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.runtime import features
from espnet_pse_kd.runtime.features import LEVEL_DBFS
from espnet_pse_kd.runtime.framing import WINDOW_HOP

Waveform = Tensor | np.ndarray
"""Samples at the encoder's rate, full scale = 1."""


class SpeakerEncoder(ABC):
    """A frozen network that maps speech to a unit vector per speaker.

    It is deliberately no `torch.nn.Module`: a network that holds one neither trains
    it nor saves it.

    Attributes:
        name: what `load_speaker_encoder` was given.
        digest: of the weights, see `weights_digest`: a name may get other weights.
        dim: size D of a vector.
        window_seconds: length of a mixture's windows, unless another is asked for.
        sample_rate: rate of the waveforms, in Hz.
    """

    name: str
    digest: str
    dim: int
    window_seconds: float
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
            UserError: an utterance holds less than 0.5 s of activity,
                or a sample that is not finite.
        """

    @abstractmethod
    def windows_batch(
        self,
        mixtures: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float | None = None,
    ) -> Tensor:
        """Vectors of sliding windows; window ``k`` is centred on sample ``hop * k``.

        Args:
            mixtures: (B, N) mixtures of equal length.
            hop: samples between centres, a multiple of 160.
            window_seconds: length of a window; None for the encoder's own. What it
                does with one that reaches beyond an end is the encoder's to say.

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
        window_seconds: float | None = None,
    ) -> Tensor:
        """Window vectors of one mixture, see `windows_batch`: (N,) -> (K, D)."""
        return self.windows_batch(torch.as_tensor(wave)[None], hop, window_seconds)[0]


def unit(vectors: Tensor) -> Tensor:
    """Scale (..., D) vectors to unit norm; a zero vector becomes a uniform one."""
    norm = vectors.norm(dim=-1, keepdim=True)
    uniform = torch.full_like(vectors, vectors.shape[-1] ** -0.5)
    return torch.where(norm > 0, vectors / norm.clamp_min(1e-12), uniform)


def raise_level(wave: Tensor) -> Tensor:
    """Raise (..., N) signals below `LEVEL_DBFS` to that level; silence stays silent."""
    power = wave.square().mean(-1, keepdim=True).clamp_min(1e-20)
    gain = (10 ** (LEVEL_DBFS / 10) / power).sqrt().clamp_min(1.0)
    return wave * gain


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256, in 16 hexadecimal digits, of names, shapes and float32 values."""
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().float().contiguous().numpy()
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def trim_silence(wave: Tensor, name: str = "enrolment") -> Tensor:
    """`features.trim_silence` of a tensor: (N,) -> (N',), on its device."""
    kept = features.trim_silence(wave.cpu().numpy(), name)
    return torch.from_numpy(kept).to(wave.device)
