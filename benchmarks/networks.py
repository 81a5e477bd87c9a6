"""Our networks as the benchmark runs them: from their YAML, seeded or trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.utils.yamls import read_config

if TYPE_CHECKING:
    from espnet2.tasks.abs_task import AbsTask
    from torch import nn

ROOT = Path(__file__).parents[1]
NETWORKS = ("mingru", "e3net_small", "e3net", "pdccrn")
"""Tags of the YAML files ``conf/tuning/train_pse_<tag>.yaml``."""
SEEDED, TRAINED = "seeded", "trained"


def config_of(tag: str) -> Path:
    """The YAML of a network."""
    return ROOT / f"conf/tuning/train_pse_{tag}.yaml"


def build(task: type[AbsTask], config: Path) -> Any:
    """The model that a training with this YAML begins with, seeded."""
    import torch

    torch.manual_seed(0)
    return task.build_model(task.get_parser().parse_args(["--config", str(config)]))


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

    config = read_config(config_of(tag))
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
