"""Losses of personalized speech enhancement, per loss frame.

All of them are finite, and have finite gradients, for a silent target, a silent
estimate, an all-zero mixture, and any combination: see docs/method.md, "Losses".

A loss takes `LossSignals`: target, estimate and mixture at one level, with their
spectra and frame powers, which several losses of a training step share.

Shapes: B samples, N audio samples, T loss frames, F = 257 bins.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from espnet_pse_kd.activity import activity, frame_power
from espnet_pse_kd.stft import HOP, num_frames, stft

LEVEL_DBFS = -26.0
"""Level (rms) to which losses bring every mixture, with its target and estimate."""
QUIETEST_DBFS = -60.0
"""A mixture below this level is raised as one of this level."""
SILENCE_DBFS = -80.0
"""Level below which a mixture gives no reference for the compression floor."""


class Compressed(NamedTuple):
    """A compressed spectrum, each part (B, T, F).

    Real and imaginary part lie apart: complex arithmetic takes twice as long.
    """

    magnitude: Tensor
    real: Tensor
    imag: Tensor


class LossSignals:
    """What the losses of one step are computed from, each part when first asked for.

    All three signals get one gain, which brings the mixture to -26 dBFS. A compressed
    loss would otherwise grow with the level (``l ~ level^0.6``) while an SNR or an
    energy ratio does not: their weights would mean something else at every level, and
    quiet talkers would count least.

    Args:
        target: (B, N) target image.
        estimate: (B, N) network output.
        mixture: (B, N)
        lengths: (B,) in samples, default all N. Signals are zero from there on.
    """

    def __init__(
        self,
        target: Tensor,
        estimate: Tensor,
        mixture: Tensor,
        lengths: Tensor | None = None,
    ) -> None:
        if lengths is None:
            lengths = torch.full((len(mixture),), mixture.shape[-1])
        self.lengths = lengths.to(mixture.device)
        self.active = activity(target)  # [B, T]
        gain = self._gain(mixture)  # [B, 1]
        self.target, self.estimate = target * gain, estimate * gain
        self.mixture = mixture * gain
        self._compressed: dict[tuple[float, float], tuple[Compressed, Compressed]] = {}

    def _gain(self, mixture: Tensor) -> Tensor:
        power = mixture.square().sum(-1) / self.lengths.clamp_min(1)  # [B]
        level = power.clamp_min(10 ** (QUIETEST_DBFS / 10)).sqrt()
        return (10 ** (LEVEL_DBFS / 20) / level)[:, None]

    @cached_property
    def mixture_power(self) -> Tensor:
        """Power of the mixture's frames (B, T)."""
        return frame_power(self.mixture)

    @cached_property
    def inside(self) -> Tensor:
        """Frames that belong to each sample, bool (B, T)."""
        return frame_mask(self.lengths, num_frames(self.mixture.shape[-1]))

    def compressed(self, p: float, floor_db: float) -> tuple[Compressed, Compressed]:
        """`compress` of the target's spectrum, and of the estimate's."""
        if (p, floor_db) not in self._compressed:
            floor = compression_floor(stft(self.mixture), floor_db, self.inside)
            self._compressed[p, floor_db] = (
                compress(stft(self.target), floor, p),
                compress(stft(self.estimate), floor, p),
            )
        return self._compressed[p, floor_db]


def compression_floor(
    mixture: Tensor, floor_db: float, inside: Tensor | None = None
) -> Tensor:
    """Floor ``e = 10^{E/20} rms |X|`` of the power-law compression.

    Args:
        mixture: complex (B, T, F) spectrum.
        floor_db: E, in dB. It is a hyper-parameter of the trade-off: it decides how
            long almost silent frames keep pushing.
        inside: bool (B, T), frames that belong to each sample; default all.

    Returns:
        (B, 1, 1). A mixture below -80 dBFS counts as one at -80 dBFS.
    """
    real, imag = _planes(mixture)
    power = (real.square() + imag.square()).mean(-1)  # [B, T]
    count = power.shape[-1] if inside is None else inside.sum(-1)
    mean = power.sum(-1) / count  # [B]
    rms = mean.clamp_min(10 ** (SILENCE_DBFS / 10)).sqrt()
    return (rms * 10 ** (floor_db / 20))[:, None, None]


def compress(spectrum: Tensor, floor: Tensor, p: float) -> Compressed:
    """Power-law compression of magnitude and of the complex spectrum.

    ``|Y|_c = (|Y|^2 + e^2)^{p/2}`` and ``Y_c = Y (|Y|^2 + e^2)^{(p-1)/2}``. Without the
    floor ``e`` the gradient with respect to the waveform diverges where ``|Y| -> 0``.

    Args:
        spectrum: complex (..., T, F).
        floor: e, broadcastable to the spectrum.
        p: exponent.

    Returns:
        its magnitude, real and imaginary part, each (..., T, F).
    """
    real, imag = _planes(spectrum)
    log_power = torch.log(real.square() + imag.square() + floor.square())
    magnitude = torch.exp(p / 2 * log_power)
    factor = torch.exp((p - 1) / 2 * log_power)
    return Compressed(magnitude, real * factor, imag * factor)


def _planes(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of a complex tensor, each contiguous."""
    real, imag = torch.view_as_real(spectrum).unbind(-1)
    return real.contiguous(), imag.contiguous()


def plcpa(
    signals: LossSignals, p: float = 0.3, alpha: float = 0.5, floor_db: float = -50.0
) -> Tensor:
    """Power-law compressed phase-aware loss (arXiv 2110.09625) of every frame.

    ``l(t) = (1/F) sum_f [alpha (|S|_c - |Y|_c)^2 + (1 - alpha) |S_c - Y_c|^2]``.

    Args:
        signals: target S, estimate Y and mixture.
        p: exponent of the compression.
        alpha: weight of the magnitude term.
        floor_db: floor of the compression relative to the mixture, in dB.

    Returns:
        (B, T)
    """
    pairs = zip(*signals.compressed(p, floor_db), strict=True)
    magnitude, real, imag = ((s - y).square().mean(-1) for s, y in pairs)
    return alpha * magnitude + (1 - alpha) * (real + imag)


def oversuppression(
    signals: LossSignals, p: float = 0.3, floor_db: float = -50.0
) -> Tensor:
    """Over-suppression loss (arXiv 2110.09625), ``o(t)``: only missing energy counts.

    ``o(t) = (1/F) sum_f max(|S|_c - |Y|_c, 0)^2``. The asymmetric loss of the paper
    is `plcpa` + beta times this.

    Returns:
        (B, T), zero where the estimate has at least the target's magnitude.
    """
    target, estimate = signals.compressed(p, floor_db)
    return (target.magnitude - estimate.magnitude).clamp_min(0).square().mean(-1)


def r_log(
    signals: LossSignals, scale: float = 0.2, tau: float = 1e-2, of: str = "estimate"
) -> Tensor:
    """Log-energy penalty for frames without target, ``r(t)``; it needs no teacher.

    ``r(t) = scale 10 log10((sum y^2 + tau sum x^2 + d) / (sum x^2 + d))`` with ``d``
    the energy of a -80 dBFS frame. Its gradient dies below ``10 log10 tau`` dB.

    Args:
        signals: estimate y and mixture x.
        scale: lambda, weight relative to the frame loss that it replaces.
        tau: share of the mixture's energy at which the penalty saturates.
        of: "estimate", or "error": y minus the target, where a target too quiet to
            count as active is to be kept.

    Returns:
        (B, T), about ``scale * [10 log10 tau, 0]`` for an estimate quieter than
        the mixture.
    """
    penalized = signals.estimate
    if of == "error":
        penalized = penalized - signals.target
    silence = 10 ** (SILENCE_DBFS / 10)
    power_in, power_out = signals.mixture_power, frame_power(penalized)
    ratio = (power_out + tau * power_in + silence) / (power_in + silence)
    return scale * 10 * torch.log10(ratio)


def negative_snr(signals: LossSignals, ceiling_db: float = 30.0) -> Tensor:
    """Negative SNR in dB over the target's active frames; 0 for a silent target.

    Not part of the paper's loss. At a weight of 0.002 its gradient is already about as
    large as that of `plcpa`: docs/method.md, "Losses".

    Args:
        signals: target and estimate.
        ceiling_db: SNR at which the gradient fades.

    Returns:
        (B,) in dB, at least ``-ceiling_db``.
    """
    active = signals.active.to(signals.target.dtype)  # [B, T]
    signal = (frame_power(signals.target) * active).sum(-1)
    error = (frame_power(signals.target - signals.estimate) * active).sum(-1)
    has_target = signal > 0
    signal = torch.where(has_target, signal, torch.ones_like(signal))
    snr = -10 * torch.log10(error / signal + 10 ** (-ceiling_db / 10))
    return torch.where(has_target, -snr, torch.zeros_like(snr))


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Frames that belong to each sample: bool (B, frames), from (B,) in samples."""
    count = (lengths + HOP - 1).div(HOP, rounding_mode="floor") + 1
    return torch.arange(frames, device=lengths.device) < count[:, None]


def reduce_frames(
    frame_loss: Tensor,
    weights: Tensor | None = None,
    lengths: Tensor | None = None,
    normalizer: str = "frames",
) -> Tensor:
    """Weighted sum over frames, normalised over the batch.

    ``L = sum_t w(t) l(t) / N`` with N the number of frames ("frames": an excluded frame
    also leaves the gradient smaller) or ``max(sum w, 1)`` ("weights").

    Args:
        frame_loss: (B, T)
        weights: (B, T) or None for all ones.
        lengths: (B,) in samples; frames behind a sample's end do not count.
        normalizer: "frames" or "weights".

    Returns:
        (B,) whose mean over the batch is L.

    Raises:
        ValueError: unknown normalizer.
    """
    mask = torch.ones_like(frame_loss)
    if lengths is not None:
        mask = frame_mask(lengths, frame_loss.shape[1]).to(frame_loss.dtype)
    weights = mask if weights is None else weights * mask
    if normalizer == "frames":
        count = mask.sum()
    elif normalizer == "weights":
        count = weights.sum().clamp_min(1.0)
    else:
        raise ValueError(
            f"normalizer must be 'frames' or 'weights', not {normalizer!r}"
        )
    # torch.where, not a product: a frame that does not count must not spread a nan.
    counted = torch.where(mask > 0, frame_loss, torch.zeros_like(frame_loss))
    return (weights * counted).sum(-1) * (len(frame_loss) / count)
