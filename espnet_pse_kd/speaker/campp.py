"""CAM++: a speaker encoder that tells whose voice a window of a mixture holds.

192 dimensions, works offline; arXiv 2303.00332, with the weights of 3D-Speaker's
``speech_campplus_sv_zh_en_16k-common_advanced`` (see ``NOTICE``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError, how_to_install
from espnet_pse_kd.runtime import default_model
from espnet_pse_kd.runtime.framing import (
    CAMPP_WINDOW_SECONDS,
    LEAST_SAMPLES,
    equal_pieces,
    window_frames,
)
from espnet_pse_kd.runtime.onnxfile import read_model_file
from espnet_pse_kd.speaker.base import (
    WINDOW_HOP,
    SpeakerEncoder,
    Waveform,
    raise_level,
    trim_silence,
    unit,
    weights_digest,
)
from espnet_pse_kd.speaker.campp_network import DIM, CAMPlusPlus
from espnet_pse_kd.speaker.fbank import log_fbank
from espnet_pse_kd.speaker.weights import onnx_tensors

NAME = "campp"
WEIGHTS = default_model.CAMPP
"""The network in onnxruntime's format; PyTorch takes its weights from there as well."""

_PREFIX = "network."  # of the names in the file
_CHUNK = 32  # windows per pass: bounds memory


def rounded(weights: Tensor) -> Tensor:
    """Weights as the file holds them: large tensors rounded to 16 bits."""
    from espnet_pse_kd.export.graph import HALF_FROM

    return weights if weights.numel() < HALF_FROM else weights.half().float()


def read_weights(path: Path = WEIGHTS) -> dict[str, Tensor]:
    """Tensors of `CAMPlusPlus`, float32, from the file that onnxruntime runs.

    Args:
        path: of `espnet_pse_kd.export.teachers.write_campp`.

    Raises:
        UserError: the file is missing or damaged, the package onnx is missing, or the
            weights are not those of the digest in the file.
    """
    tensors = {
        name.removeprefix(_PREFIX): values.float()
        for name, values in onnx_tensors(path).items()
        if name.startswith(_PREFIX)
    }
    stored = read_model_file(path, "speaker_encoder").metadata["digest"]
    if weights_digest(tensors) != stored:
        raise UserError(
            f"{path}: its weights are not those of its digest; {how_to_install()}"
        )
    return tensors


class CAMPP(SpeakerEncoder):
    """CAM++ over 80 log mel bands, 6.8 M frozen parameters.

    Silence is cut out of an enrolment by energy (`trim_silence`); more than 10 s of it
    are heard in equal pieces, whose unit vectors are averaged. A window of a mixture
    that would reach beyond an end is moved inside.

    Args:
        name: ``campp``.

    Raises:
        UserError: see `read_weights`.
    """

    dim = DIM
    window_seconds = CAMPP_WINDOW_SECONDS
    sample_rate = SAMPLE_RATE

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        tensors = read_weights()
        self.digest = weights_digest(tensors)
        network = CAMPlusPlus()
        network.load_state_dict(tensors)
        self._network = network.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self._network.embed.weight.device

    def to(self, device: str | torch.device) -> CAMPP:
        self._network.to(device)
        return self

    @torch.no_grad()
    def embed_batch(
        self, waves: Sequence[Waveform], names: Sequence[str] | None = None
    ) -> Tensor:
        names = names or ["enrolment"] * len(waves)
        return torch.stack(
            [self._embed(w, n) for w, n in zip(waves, names, strict=True)]
        )

    @torch.no_grad()
    def windows_batch(
        self,
        mixtures: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float | None = None,
    ) -> Tensor:
        mixtures = self._tensor(mixtures)
        count = -(-mixtures.shape[1] // hop) + 1
        fbank = log_fbank(self._prepared(mixtures))  # [B, T, M]
        samples = max(mixtures.shape[1], LEAST_SAMPLES)
        frames = window_frames(samples, hop, window_seconds or self.window_seconds)
        index = torch.from_numpy(frames[:count]).to(self.device)  # [K, L]
        vectors = [self._run(one, index) for one in fbank]
        return torch.stack(vectors)  # [B, K, D]

    def _embed(self, wave: Waveform, name: str) -> Tensor:
        """(N,) to (D,)"""
        speech = trim_silence(self._tensor(wave), name)
        fbank = log_fbank(self._prepared(speech))  # [T, M]
        pieces = torch.from_numpy(equal_pieces(len(fbank))).to(self.device)
        return unit(self._run(fbank, pieces).mean(0))

    def _prepared(self, wave: Tensor) -> Tensor:
        """(..., N) signals at their level, padded where too short to be heard."""
        missing = max(0, LEAST_SAMPLES - wave.shape[-1])
        return torch.nn.functional.pad(raise_level(wave), (0, missing))

    def _tensor(self, wave: Waveform) -> Tensor:
        return torch.as_tensor(wave).to(self.device, torch.float32)

    def _run(self, fbank: Tensor, index: Tensor) -> Tensor:
        """Unit vectors (K, D) of pieces: (T, 80) and their frames (K, L)."""
        vectors = []
        for chunk in index.split(_CHUNK):
            pieces = fbank[chunk]  # [C, L, M]
            vectors.append(self._network(pieces - pieces.mean(1, keepdim=True)))
        return unit(torch.cat(vectors))
