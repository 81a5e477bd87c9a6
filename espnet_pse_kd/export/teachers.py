"""The speaker encoder and the personal VAD as graphs over whole signals."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

import espnet_pse_kd
from espnet_pse_kd.activity import CLASSES
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export.graph import write_model
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.speaker import OFFLINE_NAMES
from espnet_pse_kd.speaker.ge2e import GE2E
from espnet_pse_kd.speaker.mel import BANDS


def check_speaker_encoder(name: str) -> None:
    """Raise `UserError` for a speaker encoder that has no ONNX form here."""
    if name not in OFFLINE_NAMES:
        raise UserError(
            f"speaker encoder {name!r}: only {' and '.join(OFFLINE_NAMES)} can be "
            "exported; train on vectors of one of them, or export the student alone"
        )


def export_speaker_encoder(
    path: str | Path, name: str = "ge2e", weights: Path | None = None
) -> None:
    """Write a GE2E encoder for `OnnxSpeakerEncoder`.

    Input ``mel (T, B, 40)``, output ``vector (B, 256)``, unit norm. Weights that 16
    bits hold exactly are stored in 16.

    Args:
        path: file to write.
        name: one of `speaker.OFFLINE_NAMES`.
        weights: file of them; default the package's.

    Raises:
        UserError: another encoder; it has no ONNX form here.
    """
    check_speaker_encoder(name)
    encoder = GE2E(name, weights)
    metadata = {
        "kind": "speaker_encoder",
        "name": encoder.name,
        "package_version": espnet_pse_kd.__version__,
        "sample_rate": encoder.sample_rate,
        "speaker_dim": encoder.dim,
    }
    write_model(
        encoder.network,
        {"mel": torch.zeros(80, 3, BANDS)},
        ["vector"],
        metadata,
        path,
        {"mel": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}},
        half=all(torch.equal(p, p.half()) for p in encoder.network.parameters()),
    )


class _Posterior(nn.Module):
    """A personal VAD whose logits are made probabilities."""

    def __init__(self, pvad: PersonalVAD) -> None:
        super().__init__()
        self.pvad = pvad

    def forward(
        self, mixture: Tensor, speaker: Tensor, windows: Tensor | None = None
    ) -> Tensor:
        return self.pvad(mixture, speaker, windows).softmax(-1)  # [1, T, 3]


def export_pvad(
    pvad: PersonalVAD, path: str | Path, speaker_encoder: str = "ge2e"
) -> None:
    """Write a personal VAD for `OnnxPersonalVAD`, its weights in 16 bits.

    Inputs ``mixture (1, N)``, ``speaker (1, D)`` and, for the conditionings ``st`` and
    ``set``, ``windows (1, K, D)``; output ``posterior (1, T, 3)``.

    Args:
        pvad: trained; it is not changed.
        path: file to write.
        speaker_encoder: name of the encoder that it was trained with.

    Raises:
        UserError: the network cannot be expressed in ONNX.
    """
    dim = pvad.embedding_dim
    inputs = {
        "mixture": torch.zeros(1, SAMPLE_RATE),
        "speaker": torch.full((1, dim), dim**-0.5),
    }
    shapes = {"mixture": {1: Dim.DYNAMIC}}
    if pvad.uses_scores:
        count = -(-SAMPLE_RATE // pvad.window_hop) + 1
        inputs["windows"] = torch.full((1, count, dim), dim**-0.5)
        shapes["windows"] = {1: Dim.DYNAMIC}
    metadata = {
        "kind": "pvad",
        "name": "personal_vad",
        "package_version": espnet_pse_kd.__version__,
        "sample_rate": SAMPLE_RATE,
        "hop": pvad.hop,
        "window_hop": pvad.window_hop,
        "speaker_encoder": speaker_encoder,
        "speaker_dim": dim,
        "classes": " ".join(CLASSES),
    }
    outputs = ["posterior"]
    # What it says is a share of time: rounding in the fourth digit is not seen.
    write_model(_Posterior(pvad), inputs, outputs, metadata, path, shapes, half=True)
