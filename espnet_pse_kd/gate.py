"""The pVAD gate: cross-task knowledge distillation (arXiv 2211.02944).

A personal VAD, the teacher, tells which frames without target speech *sound like the
target*. Asking the student to suppress those teaches it to suppress the target too,
so the gate excludes them from the loss (hard) or weighs them down (soft), during
training only. docs/method.md, "The gate", says what the paper fixes and what is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from espnet_pse_kd.activity import TSS
from espnet_pse_kd.stft import HOP

SHORTEST_SHIFT = 16000 // HOP
"""Loss frames in the shortest circular shift of the control `permute="shift"`: 1 s."""

_CHOICES = {
    "mode": ("none", "hard", "soft", "constant"),
    "rule": ("threshold", "argmax"),
    "frames": ("nontarget_speech", "nontarget"),
    "scope": ("all", "its"),
    "permute": ("none", "frames", "shift"),
    "normalizer": ("frames", "weights"),
}


class GateOutput(NamedTuple):
    """Weights of the loss frames and what they did.

    Attributes:
        weights: (B, T) in [0, 1], 1 outside the gated frames.
        gated: bool (B, T), frames to which the gate applies.
    """

    weights: Tensor
    gated: Tensor

    @property
    def closed_share(self) -> Tensor:
        """Share of the gated frames whose weight is below 0.5 (0 if there are none)."""
        closed = (self.weights < 0.5) & self.gated
        return closed.sum() / self.gated.sum().clamp_min(1)


@dataclass(frozen=True)
class Gate:
    """Turns the teacher's posteriors into weights of the student's loss frames.

    ``none``: w = 1. ``hard``: w = 0 where q > theta (or where tss is the argmax),
    else 1. ``soft``: w = (1 - q)^kappa. ``constant``: w = ``constant`` on every gated
    frame, the control without the teacher's timing.

    Attributes:
        mode: "none", "hard", "soft" or "constant".
        rule: how ``hard`` decides, "threshold" or "argmax".
        theta: threshold of the hard gate on q, the posterior of target speech.
        kappa: exponent of the soft gate; 1 is the literal reading of the paper.
        frames: gated frames. "nontarget_speech": the interferer speaks and the target
            does not (the abstract's wording); "nontarget": the target does not speak.
        scope: "all" samples, or only the inactive-target ones ("its"), i.e. those
            whose target is silent throughout.
        permute: control: the same weights at the wrong frames. "frames" permutes them
            among the gated frames of each sample, "shift" rolls them by at least 1 s
            along the gated frames, which keeps run lengths.
        constant: weight of the mode "constant".
        normalizer: passed on to `losses.reduce_frames`.

    Raises:
        ValueError: an option has an unknown value or is out of range.
    """

    mode: str = "none"
    rule: str = "threshold"
    theta: float = 0.5
    kappa: float = 1.0
    frames: str = "nontarget_speech"
    scope: str = "all"
    permute: str = "none"
    constant: float = 1.0
    normalizer: str = "frames"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(
                    f"gate: {name} must be one of {', '.join(choices)}, not {value!r}"
                )
        if not 0 <= self.theta <= 1:
            raise ValueError(f"gate: theta must be in [0, 1], not {self.theta}")
        if not self.kappa > 0:
            raise ValueError(f"gate: kappa must be positive, not {self.kappa}")
        if not 0 <= self.constant <= 1:
            raise ValueError(f"gate: constant must be in [0, 1], not {self.constant}")
        if self.permute != "none" and self.mode not in ("hard", "soft"):
            raise ValueError(
                f"gate: permute {self.permute!r} needs mode hard or soft, "
                f"not {self.mode!r}"
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether the weights depend on the teacher's posteriors."""
        return self.mode in ("hard", "soft")

    def gated_frames(self, target_active: Tensor, interferer_active: Tensor) -> Tensor:
        """Frames to which the gate applies.

        Args:
            target_active: bool (B, T), widened activity of the target.
            interferer_active: bool (B, T), widened activity of the interferer.

        Returns:
            bool (B, T)
        """
        gated = ~target_active
        if self.frames == "nontarget_speech":
            gated = gated & interferer_active
        if self.scope == "its":
            gated = gated & ~target_active.any(-1, keepdim=True)
        return gated

    def __call__(
        self,
        target_active: Tensor,
        interferer_active: Tensor,
        posterior: Tensor | None = None,
    ) -> GateOutput:
        """Weigh the loss frames.

        Args:
            target_active: bool (B, T), widened activity of the target.
            interferer_active: bool (B, T), widened activity of the interferer.
            posterior: (B, T, 3), the teacher's posteriors of ns, ntss, tss at the
                loss frames; only hard and soft gates need it.

        Raises:
            ValueError: a hard or soft gate without posteriors.
        """
        gated = self.gated_frames(target_active, interferer_active)
        ones = torch.ones(gated.shape, device=gated.device)
        if self.mode == "none":
            return GateOutput(ones, gated)
        if self.mode == "constant":
            inside = torch.full_like(ones, self.constant)
        elif posterior is None:
            raise ValueError(f"gate: mode {self.mode!r} needs the teacher's posteriors")
        else:
            inside = _permuted(self._weigh(posterior), gated, self.permute)
        return GateOutput(torch.where(gated, inside, ones), gated)

    def _weigh(self, posterior: Tensor) -> Tensor:
        """Weights (B, T) before the restriction to gated frames."""
        q = posterior[..., TSS]
        if self.mode == "soft":
            return (1 - q).clamp(0, 1).pow(self.kappa)
        if self.rule == "argmax":
            return (posterior.argmax(-1) != TSS).to(q.dtype)
        return (q <= self.theta).to(q.dtype)


def _permuted(weights: Tensor, gated: Tensor, permute: str) -> Tensor:
    """Move each sample's weights among its gated frames: same frames, same sum."""
    if permute == "none":
        return weights
    moved = weights.clone()
    for sample, frames in zip(moved, gated):
        values = sample[frames]
        if len(values) > 1:
            sample[frames] = values[_order(len(values), permute, values.device)]
    return moved


def _order(count: int, permute: str, device: torch.device) -> Tensor:
    """Order in which ``count`` weights are laid onto their frames."""
    if permute == "frames":
        return torch.randperm(count).to(device)
    shortest = min(SHORTEST_SHIFT, count // 2)
    shift = int(torch.randint(shortest, count - shortest + 1, ()))
    return torch.arange(count, device=device).roll(shift)
