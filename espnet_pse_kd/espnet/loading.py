"""Loading trained models, without ESPnet's silence about keys that do not match."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.enh.espnet_model_tse import ESPnetExtractionModel
from espnet2.tasks.enh_tse import TargetSpeakerExtractionTask

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.utils.tensors import load_tensors
from espnet_pse_kd.utils.yamls import read_yaml

_PARTS = ("encoder", "extractor", "decoder")


def load_parameters(model: torch.nn.Module, path: str | Path) -> None:
    """Fill a model from a file; every parameter must be there, and none too many.

    Raises:
        UserError: the file is missing or damaged, holds code, or is another model's.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; finish the training, or correct it")
    state = load_tensors(path, str(path))
    own = model.state_dict()
    for text, keys in (
        ("lacks", own.keys() - state.keys()),
        ("also holds", state.keys() - own.keys()),
        ("has another shape of", _misshapen(own, state)),
    ):
        if keys:
            raise UserError(
                f"{path}: {text} {len(keys)} parameters of {type(model).__name__}, "
                f"the first is {sorted(keys)[0]!r}; give the config.yaml that "
                "belongs to it"
            )
    model.load_state_dict(state)


def _misshapen(own: Mapping[str, Any], state: Mapping[str, Any]) -> set[str]:
    shared = own.keys() & state.keys()
    return {k for k in shared if own[k].shape != state[k].shape}


def inference_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a student's ``config.yaml`` to what inference needs.

    The result has no teacher, no gate, no criterion and no path, and ESPnet's own
    classes accept it once `espnet_pse_kd` is imported.

    Raises:
        UserError: it is no config of an extraction model.
    """
    missing = [part for part in _PARTS if not config.get(part)]
    if missing:
        raise UserError(
            f"config.yaml: no {missing[0]!r}; give the config of a personalized "
            "enhancement model"
        )
    kept = [f"{part}{suffix}" for part in _PARTS for suffix in ("", "_conf")]
    return {
        **{key: config[key] for key in kept if key in config},
        "model_conf": {
            **(config.get("model_conf") or {}),
            "num_spk": 1,
        },
        "sample_rate": config.get("sample_rate", SAMPLE_RATE),
        "version": config.get("version"),
        "init": None,
        "criterions": None,
        # What ESPnet's inference command asks its preprocessor for.
        "train_spk2enroll": None,
        "preprocessor_conf": {},
    }


def load_student(
    config_file: str | Path, model_file: str | Path, device: str = "cpu"
) -> ESPnetExtractionModel:
    """Load a student for inference, without its teacher.

    Raises:
        UserError: a file is missing, or the two do not belong together.
    """
    config = inference_config(read_yaml(config_file))
    model = TargetSpeakerExtractionTask.build_model(argparse.Namespace(**config))
    load_parameters(model, model_file)
    return model.to(device).eval()
