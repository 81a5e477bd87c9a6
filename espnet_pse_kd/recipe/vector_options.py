"""What a configuration has to say of the speaker vectors that it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from espnet_pse_kd.enrolment_vectors import dim_of, encoder_of
from espnet_pse_kd.errors import UserError

_USUAL_DIM = 256  # the default of every network


def name_encoder(config: dict[str, Any]) -> None:
    """Say in a student's configuration whose vectors it is trained on.

    Args:
        config: of the training, with ``train_enroll_vectors``; it is changed.

    Raises:
        UserError: the YAML names another encoder than stage 3 used.
    """
    # ESPnet's own extractors know no encoder: they always get vectors.
    if not _is_ours(config):
        return
    folder = Path(config["train_enroll_vectors"]).parent
    used = encoder_of(folder)
    if used is None:  # checked before stage 3
        return
    conf = config.get("extractor_conf", {})
    named = conf.get("speaker_encoder", used.name)
    if named != used.name:
        raise UserError(
            f"extractor_conf: speaker_encoder {named!r}, but {folder} holds "
            f"vectors of {used.name!r}; remove the key, or run stage 3 again with "
            f"--speaker_encoder {named}"
        )
    if used.digest is not None:
        conf = {**conf, "speaker_digest": used.digest}
    # A training that was begun with vectors of an older version resumes.
    if used != ("ge2e", None):
        config["extractor_conf"] = {**conf, "speaker_encoder": used.name}


def fit_vectors(config: dict[str, Any]) -> None:
    """Give a network the size of its speaker vectors, where the YAML does not.

    Args:
        config: of the training, with ``train_enroll_vectors``; it is changed.
    """
    if _is_ours(config):
        section, key = "extractor_conf", "speaker_dim"
    elif "pvad" in config:
        section, key = "pvad_conf", "embedding_dim"
    else:  # ESPnet's own
        return
    dim = dim_of(Path(config["train_enroll_vectors"]).parent)
    if dim not in (None, _USUAL_DIM):
        config[section] = {key: dim, **config.get(section, {})}


def _is_ours(config: dict[str, Any]) -> bool:
    """Whether a student's network is one of this package."""
    from espnet_pse_kd.nets import NETWORKS  # it brings torch

    return config.get("extractor") in NETWORKS
