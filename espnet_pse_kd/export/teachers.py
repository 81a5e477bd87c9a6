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
from espnet_pse_kd.files import atomic_open
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.runtime import fbank
from espnet_pse_kd.runtime.framing import CAMPP_WINDOW_SECONDS
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.onnxfile import read_model_file
from espnet_pse_kd.speaker import OFFLINE_NAMES, campp
from espnet_pse_kd.speaker.base import unit, weights_digest
from espnet_pse_kd.speaker.campp_network import CAMPlusPlus
from espnet_pse_kd.speaker.ge2e import GE2E
from espnet_pse_kd.speaker.mel import BANDS


def check_speaker_encoder(name: str) -> None:
    """Raise `UserError` for a speaker encoder that has no ONNX form here."""
    if name not in OFFLINE_NAMES:
        raise UserError(
            f"speaker encoder {name!r}: only {', '.join(OFFLINE_NAMES)} can be "
            "exported; train on vectors of one of them, or export the student alone"
        )


def export_speaker_encoder(
    path: str | Path, name: str = "ge2e", weights: Path | None = None
) -> None:
    """Write an encoder for `OnnxSpeakerEncoder`.

    Output ``vector (B, D)``, unit norm, of ``mel (T, B, 40)`` for GE2E and ``fbank
    (B, T, 80)`` for CAM++, whose file is the package's own. Weights of GE2E that 16
    bits hold exactly are stored in 16.

    Args:
        path: file to write.
        name: one of `speaker.OFFLINE_NAMES`.
        weights: file of them, of GE2E; default the package's.

    Raises:
        UserError: another encoder; it has no ONNX form here.
    """
    check_speaker_encoder(name)
    if name == campp.NAME:
        data = read_model_file(campp.WEIGHTS, "speaker_encoder").data
        with atomic_open(path, "wb") as file:
            file.write(data)
        return
    encoder = GE2E(name, weights)
    write_model(
        encoder.network,
        {"mel": torch.zeros(80, 3, BANDS)},
        ["vector"],
        _encoder_metadata(name, encoder.dim, encoder.digest, encoder.window_seconds),
        path,
        {"mel": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}},
        half=all(torch.equal(p, p.half()) for p in encoder.network.parameters()),
    )


def _encoder_metadata(
    name: str, dim: int, digest: str, window_seconds: float
) -> dict[str, object]:
    return {
        "kind": "speaker_encoder",
        "name": name,
        "digest": digest,
        "package_version": espnet_pse_kd.__version__,
        "sample_rate": SAMPLE_RATE,
        "speaker_dim": dim,
        "window_seconds": window_seconds,
    }


class _UnitVector(nn.Module):
    """CAM++ whose vectors have unit norm."""

    def __init__(self, network: CAMPlusPlus) -> None:
        super().__init__()
        self.network = network

    def forward(self, fbank: Tensor) -> Tensor:
        return unit(self.network(fbank))  # [B, D]


def write_campp(network: CAMPlusPlus, path: str | Path) -> None:
    """Write CAM++ with its weights in 16 bits: the package's only file of it.

    The digest is that of the rounded weights, which `campp.read_weights` reads back.

    Args:
        network: with the published weights.
        path: file to write.
    """
    rounded = {
        name: campp.rounded(tensor) for name, tensor in network.state_dict().items()
    }
    write_model(
        _UnitVector(network),
        {"fbank": torch.zeros(2, 118, fbank.BANDS)},
        ["vector"],
        _encoder_metadata(
            campp.NAME, campp.DIM, weights_digest(rounded), CAMPP_WINDOW_SECONDS
        ),
        path,
        {"fbank": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}},
        half=True,
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
    pvad: PersonalVAD, path: str | Path, speaker_encoder: EncoderIdentity
) -> None:
    """Write a personal VAD for `OnnxPersonalVAD`, its weights in 16 bits.

    Inputs ``mixture (1, N)``, ``speaker (1, D)`` and, for the conditionings ``st`` and
    ``set``, ``windows (1, K, D)``; output ``posterior (1, T, 3)``.

    Args:
        pvad: trained; it is not changed.
        path: file to write.
        speaker_encoder: the encoder that it was trained with.

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
        "speaker_encoder": speaker_encoder.name,
        "speaker_digest": speaker_encoder.digest,
        "speaker_dim": dim,
        "classes": " ".join(CLASSES),
    }
    outputs = ["posterior"]
    # What it says is a share of time: rounding in the fourth digit is not seen.
    write_model(_Posterior(pvad), inputs, outputs, metadata, path, shapes, half=True)
