"""Every network of `espnet_pse_kd.nets` as an ESPnet extractor of the same name.

The networks work on waveforms: give ``encoder: same``, ``decoder: same`` and
``model_conf: {share_encoder: false}`` beside ``extractor: NAME``.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from typing import Any, ClassVar

import torch
from espnet2.enh.extractor.abs_extractor import AbsExtractor
from torch import Tensor, nn

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.options import build
from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.speaker import SpeakerEncoder, load_speaker_encoder


class NetworkExtractor(AbsExtractor):
    """Adapter of one network: waveform and enrolment in, waveform out.

    Args:
        input_dim: width of ESPnet's encoder; 1, that of ``encoder: same``.
        speaker_encoder: frozen encoder of enrolment waveforms, see
            `load_speaker_encoder`. It is loaded with the first waveform, is never
            trained, and has no part in the checkpoint.
        speaker_digest: of the weights of that encoder when the network was trained;
            stage 5 writes it. Another encoder of the same name is refused.
        personalized: False ignores the enrolment, the baseline without
            personalization: the network gets a zero vector.
        **network_conf: arguments of the network.

    Raises:
        UserError: another encoder than ``same``, or an unknown key.
    """

    network_class: ClassVar[type[nn.Module]]

    def __init__(
        self,
        input_dim: int,
        speaker_encoder: str = "ge2e",
        speaker_digest: str | None = None,
        personalized: bool = True,
        **network_conf: Any,
    ) -> None:
        super().__init__()
        if input_dim != 1:
            raise UserError(
                "encoder: this extractor works on waveforms; write 'encoder: same' "
                "and 'decoder: same'"
            )
        self.network: Any = build("extractor_conf", self.network_class, network_conf)
        self.personalized = personalized
        self.speaker_encoder_name = speaker_encoder
        self.speaker_digest = speaker_digest
        self._speaker_encoder: SpeakerEncoder | None = None

    def forward(
        self,
        input: Tensor,
        ilens: Tensor,
        input_aux: Tensor,
        ilens_aux: Tensor,
        suffix_tag: str = "",
        additional: dict | None = None,
    ) -> tuple[Tensor, Tensor, OrderedDict]:
        """Enhance a batch; what lies behind each length is neither read nor written.

        Args:
            input: (B, N) mixtures.
            ilens: (B,) their lengths.
            input_aux: (B, 1, D) speaker vectors, or (B, M) enrolment waveforms.
            ilens_aux: (B,) lengths of the waveforms.
            suffix_tag: not used, part of ESPnet's interface.
            additional: not used, part of ESPnet's interface.

        Returns:
            (B, N) enhanced waveforms, ``ilens``, nothing else.

        Raises:
            UserError: several channels, or an enrolment without speech.
        """
        if input.dim() != 2:
            raise UserError(
                f"speech_mix: shape {tuple(input.shape)}; give one channel, "
                "(batch, samples)"
            )
        if self.personalized:
            speaker = self.speaker_vector(input_aux, ilens_aux).to(input)  # [B, D]
        else:
            speaker = input.new_zeros(len(input), self.network.speaker_dim)  # [B, D]
        time = torch.arange(input.shape[1], device=input.device)
        inside = time < ilens.to(input.device)[:, None]  # [B, N]
        mixture = input.masked_fill(~inside, 0.0)  # [B, N]
        enhanced = self.network(mixture, speaker)  # [B, N]
        return enhanced.masked_fill(~inside, 0.0), ilens, OrderedDict()

    def speaker_vector(self, enrolment: Tensor, lengths: Tensor) -> Tensor:
        """Speaker vectors (B, D) from ``input_aux``, see `forward`."""
        if enrolment.dim() == 3:
            return enrolment[:, 0]
        if enrolment.dim() != 2:
            raise UserError(
                f"enroll_ref1: shape {tuple(enrolment.shape)}; give waveforms "
                "(batch, samples) or vectors (batch, 1, dim)"
            )
        if self._speaker_encoder is None:
            self._speaker_encoder = self._load_speaker_encoder()
        encoder = self._speaker_encoder.to(enrolment.device)
        waves = [wave[:n] for wave, n in zip(enrolment, lengths.tolist())]
        return encoder.embed_batch(waves)

    def _load_speaker_encoder(self) -> SpeakerEncoder:
        """The encoder of the training's vectors.

        Raises:
            UserError: the encoder of that name has other weights by now.
        """
        encoder = load_speaker_encoder(self.speaker_encoder_name)
        if self.speaker_digest not in (None, encoder.digest):
            raise UserError(
                f"speaker encoder {encoder.name!r}: its weights are "
                f"{encoder.digest[:8]}, the network was trained with vectors of "
                f"{str(self.speaker_digest)[:8]}; install the version that trained it, "
                "or give vectors"
            )
        return encoder


def _adapter(name: str, network: type[nn.Module]) -> type[NetworkExtractor]:
    """The extractor class of one network, with its arguments in the signature.

    ESPnet's ``--print_config`` lists what the signature shows.
    """
    cls_name = f"{network.__name__}Extractor"
    cls = type(
        cls_name,
        (NetworkExtractor,),
        {
            "network_class": network,
            "__doc__": f"ESPnet extractor ``{name}``: {network.__doc__}",
            "__module__": __name__,
            "__qualname__": cls_name,
        },
    )
    own = list(inspect.signature(NetworkExtractor).parameters.values())[:-1]
    inner = inspect.signature(network).parameters.values()
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in inner]
    signature = inspect.Signature([*own, *keyword_only])
    cls.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
    return cls


EXTRACTORS: dict[str, type[NetworkExtractor]] = {
    name: _adapter(name, network) for name, network in NETWORKS.items()
}
"""Extractor classes by the name that a YAML gives them."""

# DDP spawns processes and pickles classes by name.
globals().update({cls.__name__: cls for cls in EXTRACTORS.values()})
