"""Reading checkpoints as tensors only: no code in a file is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from espnet_pse_kd.errors import UserError


def load_tensors(file: str | Path | BinaryIO, name: str) -> dict[str, Tensor]:
    """Read the parameters of a model onto the CPU.

    Args:
        file: path or open file.
        name: how errors call it.

    Raises:
        UserError: it is damaged, holds code, or holds something else than parameters.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{name}: damaged, or holds code beside tensors, which is never run; get "
            "the model from its source again, or train again"
        ) from None
    # Of a damaged stream torch's unpickler makes whatever error comes of it.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{name}: damaged ({reason:.200}); get the model from its source again, or "
            "train again"
        ) from None
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise UserError(f"{name}: holds no parameters; give a model's own file")
    return state
