"""Muon for the matrices of a network, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

_SLOW_START = 100
"""Steps after which the average's decay has reached one half."""


class MuonAdamW(Optimizer):
    """`torch.optim.Muon` on 2-D parameters, `torch.optim.AdamW` on all others.

    Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) replaces the
    momentum of a matrix by the nearest orthogonal matrix. Its updates are scaled to
    AdamW's RMS (arXiv 2502.16982), so that both share one learning rate. PyTorch's
    Muon refuses vectors and convolutions, and ESPnet trains with one optimizer: hence
    this union of PyTorch's two. Its ``param_groups`` and ``state`` hold both, so that
    schedulers, checkpoints and gradient scalers see an ordinary optimizer.

    It can also keep an exponential moving average of the parameters. `use_average`
    exchanges parameters and average, `use_latest` changes them back: what is validated
    and saved as the model is the average, what is trained goes on from the latest. As
    the average is part of the optimizer's state, checkpoints, resumption and forks
    need no files of their own.

    ESPnet's name for it is ``muon``.

    Args:
        params: parameters, or groups of them as for any optimizer of PyTorch.
        lr: learning rate of both.
        momentum: Muon's.
        ns_steps: Newton-Schulz iterations of Muon.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: decoupled weight decay of both.
        average: decay per step of the moving average, below 1; 0 keeps none. It
            begins lower, so that the first steps are soon forgotten.

    Raises:
        ValueError: no parameters, or a value that PyTorch's optimizers refuse.
    """

    muon = True

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 2e-3,
        momentum: float = 0.95,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        if not 0 <= average < 1:
            raise ValueError(f"average must be at least 0 and below 1, not {average}")
        matrices, others = self._split(params)
        if not matrices and not others:
            raise ValueError("optimizer got an empty parameter list")
        self._parts: list[Optimizer] = []
        if matrices:
            self._parts.append(
                Muon(
                    matrices,
                    lr=lr,
                    weight_decay=weight_decay,
                    momentum=momentum,
                    ns_steps=ns_steps,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            self._parts.append(
                AdamW(others, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
            )
        groups = [group for part in self._parts for group in part.param_groups]
        for group in groups:
            group |= {"average": average, "averaged": False, "steps": 0}
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters once; a closure is called before, for the loss."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = 0
        for part in self._parts:
            # Loading a checkpoint replaces groups and state: the parts get the new.
            last = first + len(part.param_groups)
            part.param_groups = self.param_groups[first:last]
            part.state = self.state
            part.step()
            first = last
        self._follow()
        return loss

    def _follow(self) -> None:
        """Move the averages towards the parameters."""
        for group in self.param_groups:
            if not group["average"]:
                continue
            group["steps"] += 1
            steps = group["steps"]
            decay = min(group["average"], steps / (steps + _SLOW_START))
            for parameter in group["params"]:
                state = self.state[parameter]
                if "average" not in state:
                    state["average"] = parameter.detach().clone()
                state["average"].lerp_(parameter, 1 - decay)

    def use_average(self) -> None:
        """Put the averages in the place of the parameters, which are kept."""
        self._exchange(True)

    def use_latest(self) -> None:
        """Undo `use_average`."""
        self._exchange(False)

    @torch.no_grad()
    def _exchange(self, averaged: bool) -> None:
        for group in self.param_groups:
            if not group["average"] or group["averaged"] == averaged:
                continue
            group["averaged"] = averaged
            for parameter in group["params"]:
                state = self.state[parameter]
                if "average" in state:
                    kept = parameter.detach().clone()
                    parameter.copy_(state["average"])
                    state["average"].copy_(kept)

    @classmethod
    def _split(
        cls, params: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Groups of the parameters that are Muon's, and groups of the others."""
        entries: list[Any] = list(params)
        if entries and not isinstance(entries[0], dict):
            entries = [{"params": entries}]
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for group in entries:
            tensors: list[Tensor] = list(group["params"])
            for groups, wanted in ((matrices, True), (others, False)):
                chosen = [p for p in tensors if (cls.muon and p.ndim == 2) == wanted]
                if chosen:
                    groups.append({**group, "params": chosen})
        return matrices, others


class AveragedAdamW(MuonAdamW):
    """`torch.optim.AdamW` with the moving average of `MuonAdamW`.

    ESPnet's name for it is ``adamw_average``.

    Args:
        params, lr, betas, eps, weight_decay: see `torch.optim.AdamW`.
        average: see `MuonAdamW`.
    """

    muon = False

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        average: float = 0.0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            average=average,
        )


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "muon": MuonAdamW,
    "adamw_average": AveragedAdamW,
}
"""Optimizer classes by the name that a YAML gives them."""
