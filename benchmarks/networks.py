"""Our networks as the benchmark runs them: from their YAML, seeded or trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from espnet_pse_kd.errors import UserError

if TYPE_CHECKING:
    from torch import nn

ROOT = Path(__file__).parents[1]
NETWORKS = ("mingru", "e3net_small", "e3net", "pdccrn")
"""Tags of the YAML files ``conf/tuning/train_pse_<tag>.yaml``."""
SEEDED, TRAINED = "seeded", "trained"


def read_config(tag: str) -> dict[str, Any]:
    """The YAML of a network."""
    return yaml.safe_load((ROOT / f"conf/tuning/train_pse_{tag}.yaml").read_text())


def load(tag: str, packed: Path | None = None) -> nn.Module:
    """Build a network, in evaluation mode.

    Args:
        tag: of its YAML.
        packed: folder of a training of it, or the zip of stage 8; None: weights from
            a seed.

    Raises:
        UserError: ``packed`` cannot be read, or holds another network.
    """
    import torch

    from espnet_pse_kd.nets import NETWORKS as CLASSES

    config = read_config(tag)
    torch.manual_seed(0)
    network = CLASSES[config["extractor"]](**config["extractor_conf"])
    if packed is not None:
        from espnet_pse_kd.export import load_student

        trained, _ = load_student(packed)
        if _shapes(trained) != _shapes(network):
            raise UserError(
                f"{packed}: another network than {tag} of conf/tuning; give --model "
                "the tag that it was trained with"
            )
        network = trained
    return network.eval().requires_grad_(False)


def size(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in network.parameters())


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in network.state_dict().items()}
