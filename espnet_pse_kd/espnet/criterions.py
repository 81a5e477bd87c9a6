"""The losses of `espnet_pse_kd.losses` as ESPnet criterions, and their wrapper.

Under ESPnet's own ``wrapper: fixed_order`` a criterion sees target and estimate only:
every frame counts alike, and the target stands in for the mixture as reference of the
level. ``wrapper: gated`` gives them the mixture, the gate's weights and the lengths.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from espnet2.enh.loss.criterions.abs_loss import AbsEnhLoss
from espnet2.enh.loss.criterions.time_domain import TimeDomainLoss
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper
from torch import Tensor

from espnet_pse_kd import losses
from espnet_pse_kd.activity import widen
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.losses import LossSignals

CONTEXT = "pse_context"
"""Key under which ``others`` carries the `LossContext`."""


class LossContext(NamedTuple):
    """What the criterions of one step share.

    Attributes:
        signals: target, estimate and mixture with their lengths.
        weights: (B, T) of the loss frames.
        normalizer: see `losses.reduce_frames`.
        progress: share of the training that is done, 1 outside of training.
    """

    signals: LossSignals
    weights: Tensor | None = None
    normalizer: str = "frames"
    progress: float = 1.0

    @classmethod
    def of(cls, target: Tensor, estimate: Tensor) -> LossContext:
        """Of bare signals (B, N); the target stands in for the mixture."""
        return cls(LossSignals(target, estimate, target))


class ContextCriterion(TimeDomainLoss):
    """A time-domain criterion that can make use of a `LossContext`."""

    @abstractmethod
    def loss(self, context: LossContext) -> Tensor:
        """Loss (B,) whose mean is the loss of the batch."""

    def forward(
        self, ref: Tensor, inf: Tensor, context: LossContext | None = None
    ) -> Tensor:
        """Loss (B,) of estimates ``inf`` (B, N) of the targets ``ref`` (B, N).

        A context holds the same signals, with what several criterions share.
        """
        return self.loss(context or LossContext.of(ref, inf))


class FrameCriterion(ContextCriterion):
    """Base of the criterions that are defined per loss frame.

    Args:
        name: its name in the log.
        frames: frames that count: "all", "target" (the target speaks, widened as for
            the gate) or "nontarget". The others count as zero.
        only_for_test: compute it in validation only.

    Raises:
        UserError: unknown ``frames``.
    """

    def __init__(self, name: str, frames: str, only_for_test: bool) -> None:
        super().__init__(name, only_for_test=only_for_test)
        if frames not in ("all", "target", "nontarget"):
            raise UserError(
                f"{name}: frames {frames!r}; write all, target or nontarget"
            )
        self.frames = frames

    @abstractmethod
    def frame_loss(self, signals: LossSignals) -> Tensor:
        """Loss (B, T) of each frame."""

    def loss(self, context: LossContext) -> Tensor:
        """Loss (B,) whose mean is the loss of the batch, see `reduce_frames`."""
        signals = context.signals
        loss = self.frame_loss(signals)  # [B, T]
        if self.frames != "all":
            speaks = widen(signals.active)  # [B, T]
            counted = speaks if self.frames == "target" else ~speaks
            loss = torch.where(counted, loss, torch.zeros_like(loss))
        return losses.reduce_frames(
            loss, context.weights, signals.lengths, context.normalizer
        )


class PLCPA(FrameCriterion):
    """Power-law compressed phase-aware loss, see `losses.plcpa`."""

    def __init__(
        self,
        p: float = 0.3,
        alpha: float = 0.5,
        floor_db: float = -50.0,
        frames: str = "all",
        name: str = "plcpa",
        only_for_test: bool = False,
    ) -> None:
        super().__init__(name, frames, only_for_test)
        self.conf = {"p": p, "alpha": alpha, "floor_db": floor_db}

    def frame_loss(self, signals: LossSignals) -> Tensor:
        return losses.plcpa(signals, **self.conf)


class OverSuppression(FrameCriterion):
    """Over-suppression loss; the wrapper's weight is beta. See `losses`."""

    def __init__(
        self,
        p: float = 0.3,
        floor_db: float = -50.0,
        frames: str = "all",
        name: str = "oversuppression",
        only_for_test: bool = False,
    ) -> None:
        super().__init__(name, frames, only_for_test)
        self.conf = {"p": p, "floor_db": floor_db}

    def frame_loss(self, signals: LossSignals) -> Tensor:
        return losses.oversuppression(signals, **self.conf)


class RLog(FrameCriterion):
    """Log-energy penalty of the frames without target, see `losses.r_log`.

    To replace the main loss on those frames give that one ``frames: target``.

    Args:
        scale: lambda.
        tau: share of the mixture's energy at which it saturates.
        of: whose energy: the "estimate"'s, or the "error"'s. They differ where the
            target is too quiet to count as active but not silent, as in its
            reverberation: the former mutes it, the latter keeps it.
        frames, name, only_for_test: see `FrameCriterion`.

    Raises:
        UserError: unknown ``frames`` or ``of``.
    """

    def __init__(
        self,
        scale: float = 0.2,
        tau: float = 1e-2,
        of: str = "estimate",
        frames: str = "nontarget",
        name: str = "r_log",
        only_for_test: bool = False,
    ) -> None:
        super().__init__(name, frames, only_for_test)
        if of not in ("estimate", "error"):
            raise UserError(f"{name}: of {of!r}; write estimate or error")
        self.of = of
        self.conf = {"scale": scale, "tau": tau}

    def frame_loss(self, signals: LossSignals) -> Tensor:
        return losses.r_log(signals, of=self.of, **self.conf)


class ActiveSNR(ContextCriterion):
    """Negative SNR over the target's active frames, see `losses.negative_snr`."""

    def __init__(
        self,
        ceiling_db: float = 30.0,
        name: str = "snr_active",
        only_for_test: bool = False,
    ) -> None:
        super().__init__(name, only_for_test=only_for_test)
        self.ceiling_db = ceiling_db

    def loss(self, context: LossContext) -> Tensor:
        """Negative SNR (B,) in dB; gated frames have no target, hence no part."""
        return losses.negative_snr(context.signals, self.ceiling_db)


class GatedSolver(AbsLossWrapper):
    """Like ESPnet's ``fixed_order``, but hands the `LossContext` on.

    Args:
        criterion: one of ours.
        weight: factor of the criterion in the sum of all.
        start: share of the training after which the criterion enters.
        ramp: share of the training over which its weight then rises from 0.

    Raises:
        UserError: the criterion is one of ESPnet's own, which take no weights; or
            ``start`` and ``ramp`` are no shares.
    """

    def __init__(
        self,
        criterion: AbsEnhLoss,
        weight: float = 1.0,
        start: float = 0.0,
        ramp: float = 0.0,
    ) -> None:
        super().__init__()
        if not isinstance(criterion, ContextCriterion):
            raise UserError(
                f"criterions: {criterion.name!r} takes no frame weights; write "
                "'wrapper: fixed_order', or one of "
                f"{', '.join(sorted(CRITERIONS))}"
            )
        if not (0 <= start <= 1 and 0 <= ramp <= 1):
            raise UserError(
                f"criterions: {criterion.name}: start {start}, ramp {ramp}; give "
                "shares of the training, from 0 to 1"
            )
        self.criterion = criterion
        self.weight = weight
        self.start, self.ramp = start, ramp

    def presence(self, progress: float) -> float:
        """Part of the weight, 0 to 1, that acts when ``progress`` of all is done."""
        if self.ramp == 0:
            return float(progress >= self.start)
        return min(1.0, max(0.0, (progress - self.start) / self.ramp))

    def forward(
        self, ref: list[Tensor], inf: list[Tensor], others: dict | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Mean loss over the speakers and the batch.

        Args:
            ref: (B, N) target of each speaker.
            inf: (B, N) estimate of each speaker.
            others: holds the `LossContext` under `CONTEXT`, if there is one.

        Returns:
            loss, statistics, the identical permutation.
        """
        context = (others or {}).get(CONTEXT)
        parts = [self.criterion(r, i, context).mean() for r, i in zip(ref, inf)]
        loss = torch.stack(parts).mean()
        if context is not None:
            loss = loss * self.presence(context.progress)
        perm = torch.arange(len(ref)).expand(len(ref[0]), -1)
        return loss, {self.criterion.name: loss.detach()}, {"perm": perm}


CRITERIONS: dict[str, type[ContextCriterion]] = {
    "plcpa": PLCPA,
    "oversuppression": OverSuppression,
    "r_log": RLog,
    "snr_active": ActiveSNR,
}
"""Criterion classes by the name that a YAML gives them."""
LOSS_WRAPPERS: dict[str, type[AbsLossWrapper]] = {"gated": GatedSolver}
"""Wrapper classes by the name that a YAML gives them."""
