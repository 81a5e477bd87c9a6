"""Any ESPnet-SPK model as a speaker encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from espnet2.bin.spk_inference import Speech2Embedding
from torch import Tensor, nn

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.framing import GE2E_WINDOW_SECONDS
from espnet_pse_kd.speaker import WINDOW_HOP, SpeakerEncoder, Waveform
from espnet_pse_kd.speaker.base import trim_silence, unit, weights_digest

_CHUNK = 64  # windows per forward pass


class ESPnetSpeakerEncoder(SpeakerEncoder):
    """A model of ESPnet-SPK behind `SpeakerEncoder`.

    Args:
        name_or_path: tag in the model zoo, packed zip, or a folder that holds one
            ``config.yaml`` and one ``.pth``.

    Raises:
        UserError: there is no such model, it cannot be loaded, or it works at another
            rate than 16 kHz.
    """

    window_seconds = GE2E_WINDOW_SECONDS
    sample_rate = SAMPLE_RATE

    def __init__(self, name_or_path: str) -> None:
        self.name = name_or_path
        model = _load(name_or_path)
        rate = getattr(model.spk_train_args, "sample_rate", SAMPLE_RATE)
        if rate != SAMPLE_RATE:
            raise UserError(
                f"{name_or_path}: a speaker encoder at {rate} Hz; "
                f"choose one at {SAMPLE_RATE} Hz"
            )
        self._model = model.spk_model.eval().requires_grad_(False)
        self.digest = weights_digest(self._model.state_dict())
        self._device = torch.device("cpu")
        self.dim = self._forward(torch.randn(1, SAMPLE_RATE)).shape[1]

    def to(self, device: str | torch.device) -> ESPnetSpeakerEncoder:
        self._device = torch.device(device)
        self._model.to(self._device)
        return self

    def embed_batch(
        self, waves: Sequence[Waveform], names: Sequence[str] | None = None
    ) -> Tensor:
        names = names or ["enrolment"] * len(waves)
        trimmed = [
            trim_silence(self._tensor(wave), name)
            for wave, name in zip(waves, names, strict=True)
        ]
        # One by one: not every pooling of ESPnet-SPK leaves out padding.
        return torch.cat([self._forward(wave[None]) for wave in trimmed])  # [B, D]

    def windows_batch(
        self,
        mixtures: Waveform,
        hop: int = WINDOW_HOP,
        window_seconds: float | None = None,
    ) -> Tensor:
        mixtures = self._tensor(mixtures)
        batch, samples = mixtures.shape
        seconds = window_seconds or self.window_seconds
        count, half = -(-samples // hop) + 1, round(seconds * SAMPLE_RATE / 2)
        missing = max(0, (count - 1) * hop + half - samples)
        padded = nn.functional.pad(mixtures, (half, missing))
        crops = padded.unfold(1, 2 * half, hop)[:, :count].flatten(0, 1)  # [B K, W]
        vectors = torch.cat([self._forward(chunk) for chunk in crops.split(_CHUNK)])
        return vectors.unflatten(0, (batch, count))  # [B, K, D]

    def _tensor(self, wave: Waveform) -> Tensor:
        return torch.as_tensor(wave).to(self._device, torch.float32)

    @torch.no_grad()
    def _forward(self, waves: Tensor) -> Tensor:
        """(B, N) -> (B, D)"""
        vectors = self._model(speech=waves, extract_embd=True)  # [B, D]
        # Some models normalise by a variance, which is zero in a silent window.
        return unit(vectors.float().nan_to_num(0.0, 0.0, 0.0))


def _load(name_or_path: str) -> Speech2Embedding:
    path = Path(name_or_path)
    try:
        if path.is_dir():
            return Speech2Embedding(
                train_config=_only(path, "config.yaml"), model_file=_only(path, "*.pth")
            )
        return Speech2Embedding.from_pretrained(name_or_path)
    except UserError:
        raise
    except Exception as error:  # the zoo, the hub and pickle raise many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name_or_path}: no loadable ESPnet-SPK model ({reason}); give 'ge2e', "
            "a tag of the model zoo, a packed zip, or a folder with config.yaml and "
            "one .pth"
        ) from error


def _only(folder: Path, pattern: str) -> str:
    found = sorted(folder.rglob(pattern))
    if len(found) != 1:
        raise UserError(
            f"{folder}: {len(found)} files {pattern}; a speaker encoder's folder "
            "holds exactly one"
        )
    return str(found[0])
