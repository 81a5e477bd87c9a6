"""Which speaker encoder made a vector: a name alone may get other weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class EncoderIdentity(NamedTuple):
    """A speaker encoder.

    Attributes:
        name: as of `espnet_pse_kd.speaker.load_speaker_encoder`.
        digest: of its weights, see `espnet_pse_kd.speaker.base.weights_digest`.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.digest[:8]})"

    @classmethod
    def of_model(cls, metadata: Mapping[str, str]) -> EncoderIdentity:
        """The encoder whose vectors an exported network was trained on."""
        return cls(metadata["speaker_encoder"], metadata["speaker_digest"])
