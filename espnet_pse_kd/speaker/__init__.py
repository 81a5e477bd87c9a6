"""Speaker vectors: one interface, a default encoder that works offline.

``load_speaker_encoder("ge2e")`` is the default, ``"ge2e_robust"`` the same network
fine-tuned to mixtures. ``"campp"``, CAM++, is a far better judge of whose voice a
window of a mixture holds. Any other name is a model of ESPnet-SPK, by its tag in the
model zoo or by the path of its folder or zip.
"""

from __future__ import annotations

import functools
import importlib

from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.speaker.base import WINDOW_HOP, SpeakerEncoder, Waveform

__all__ = [
    "OFFLINE_NAMES",
    "WINDOW_HOP",
    "SpeakerEncoder",
    "Waveform",
    "identity_of",
    "load_speaker_encoder",
]

# Bound by name when asked for: the core layer imports neither adapters nor ESPnet.
_GE2E = ("espnet_pse_kd.speaker.ge2e", "GE2E")
_OFFLINE = {
    "ge2e": _GE2E,
    "ge2e_robust": _GE2E,
    "campp": ("espnet_pse_kd.speaker.campp", "CAMPP"),
}
OFFLINE_NAMES = tuple(_OFFLINE)
"""Encoders inside the package."""
_ESPNET = ("espnet_pse_kd.espnet.speaker_model", "ESPnetSpeakerEncoder")


def load_speaker_encoder(name_or_path: str = "ge2e") -> SpeakerEncoder:
    """Load a frozen speaker encoder.

    Args:
        name_or_path: ``ge2e``, ``ge2e_robust``, ``campp``, or an ESPnet-SPK model:
            its zoo tag, or the path of an unpacked folder or of a packed zip.

    Raises:
        UserError: the model cannot be found or loaded.
    """
    module, cls = _OFFLINE.get(name_or_path, _ESPNET)
    return getattr(importlib.import_module(module), cls)(name_or_path)


def identity_of(name_or_path: str, digest: str | None = None) -> EncoderIdentity:
    """Identity of an encoder.

    Args:
        name_or_path: see `load_speaker_encoder`.
        digest: of its weights. None where a training of an older version does not say
            it: such a training is taken to have heard the weights that are here now.

    Raises:
        UserError: the digest is None, and the encoder cannot be loaded.
    """
    return EncoderIdentity(name_or_path, digest or _digest(name_or_path))


@functools.cache
def _digest(name_or_path: str) -> str:
    return load_speaker_encoder(name_or_path).digest
