"""Losses against values worked out by hand, and in every kind of silence."""

import itertools
import math

import pytest
import torch

from espnet_pse_kd import losses
from espnet_pse_kd.stft import num_frames, stft

N = 4096


def tone(amplitude: float = 0.1) -> torch.Tensor:
    return amplitude * torch.sin(torch.arange(N) * 0.3)[None]


def signals() -> dict[str, torch.Tensor]:
    gap = tone()
    gap[:, 1000:3000] = 0
    impulse = torch.zeros(1, N)
    impulse[0, 17] = 1.0
    return {"zero": torch.zeros(1, N), "tone": tone(), "gap": gap, "impulse": impulse}


def all_losses(target, estimate, mixture):
    at_one_level = losses.LossSignals(target, estimate, mixture)
    yield losses.plcpa(at_one_level).sum()
    yield losses.plcpa(at_one_level, floor_db=-70).sum()
    yield losses.oversuppression(at_one_level).sum()
    yield losses.r_log(at_one_level).sum()
    yield losses.r_log(at_one_level, of="error").sum()
    yield losses.negative_snr(at_one_level).sum()


def levelled(*waves):
    """`LossSignals` of target, estimate, mixture, and their common gain."""
    mixture = waves[2]
    gain = 10 ** (-26 / 20) / mixture.square().mean().sqrt()
    return losses.LossSignals(*waves), gain


@pytest.mark.parametrize(
    "names", list(itertools.product(signals(), signals(), ["zero", "tone"]))
)
def test_silence_in_every_position_is_finite(names):
    pool = signals()
    target, mixture = pool[names[0]], pool[names[2]]
    for index in range(6):
        estimate = pool[names[1]].clone().requires_grad_()
        loss = list(all_losses(target, estimate, mixture))[index]
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(estimate.grad).all()


def test_one_sample_is_finite():
    one = torch.ones(1, 1)
    assert all(torch.isfinite(loss) for loss in all_losses(one, one * 0, one))


def test_plcpa_by_hand():
    mixture, target = tone(0.2), tone(0.1)
    estimate = target * 0.5
    signals, gain = levelled(target, estimate, mixture)
    floor = 10 ** (-50 / 20) * stft(gain * mixture).abs().square().mean().sqrt()
    s, y = stft(gain * target)[0], stft(gain * estimate)[0]
    ps, py = s.abs() ** 2 + floor**2, y.abs() ** 2 + floor**2
    magnitude = (ps**0.15 - py**0.15) ** 2
    phase = (s * ps**-0.35 - y * py**-0.35).abs() ** 2
    wanted = (0.3 * magnitude + 0.7 * phase).mean(-1)
    got = losses.plcpa(signals, alpha=0.3)[0]
    assert torch.allclose(got, wanted, rtol=1e-4)
    same = losses.LossSignals(target, target, mixture)
    assert losses.plcpa(same).abs().max() == 0


def test_plcpa_of_a_silent_target_falls_with_the_floor():
    """The floor decides how long a silent frame keeps pushing."""
    silent = torch.zeros(1, N)
    mixture = 0.1 * torch.randn(1, N)
    residue = 1e-3 * mixture  # 60 dB below the mixture
    signals = losses.LossSignals(silent, residue, mixture)
    high = losses.plcpa(signals, floor_db=-40).mean()
    low = losses.plcpa(signals, floor_db=-70).mean()
    assert low > 3 * high


def test_oversuppression_counts_missing_energy_only():
    mixture, target = tone(0.2), tone(0.1)
    louder = losses.LossSignals(target, 2 * target, mixture)
    assert losses.oversuppression(louder).abs().max() < 1e-12
    mute = losses.LossSignals(target, 0 * target, mixture)
    assert losses.oversuppression(mute).min() > 0.002


def test_r_log_by_hand():
    mixture = tone(0.1)
    middle = slice(3, -3)
    for gain, scale in [(1.0, 1.0), (0.1, 0.5), (0.0, 0.2)]:
        signals = losses.LossSignals(0 * mixture, gain * mixture, mixture)
        got = losses.r_log(signals, scale=scale)[0, middle]
        wanted = scale * 10 * math.log10(gain**2 + 1e-2)
        assert torch.allclose(got, torch.full_like(got, wanted), atol=1e-3)


def test_negative_snr_by_hand_and_its_ceiling():
    target = tone()
    noise = torch.randn(1, N)
    noise *= target.norm() / noise.norm() * 10 ** (-10 / 20)

    def snr(target, estimate):
        signals = losses.LossSignals(target, estimate, tone(0.2))
        return losses.negative_snr(signals).item()

    assert snr(target, target + noise) == pytest.approx(-10, abs=0.3)
    assert snr(target, target) == pytest.approx(-30, abs=1e-3)
    assert snr(target * 0, target) == 0


def test_reduce_frames_normalisers_and_lengths():
    lengths = torch.tensor([N, N // 2])
    frames = num_frames(N)
    short = num_frames(N // 2)
    loss = torch.rand(2, frames)
    weights = torch.rand(2, frames)
    mask = torch.ones(2, frames)
    mask[1, short:] = 0
    assert torch.equal(losses.frame_mask(lengths, frames), mask.bool())
    got = losses.reduce_frames(loss, weights, lengths)
    assert got.mean() == pytest.approx((mask * weights * loss).sum() / mask.sum())
    got = losses.reduce_frames(loss, weights, lengths, "weights")
    assert got.mean() == pytest.approx(
        (mask * weights * loss).sum() / (mask * weights).sum()
    )
    loss[1, -1] = math.nan  # behind the end of sample 1
    assert torch.isfinite(losses.reduce_frames(loss, weights, lengths)).all()
    assert (losses.reduce_frames(loss, 0 * weights, lengths, "weights") == 0).all()
    with pytest.raises(ValueError, match="normalizer"):
        losses.reduce_frames(loss, normalizer="batch")


def test_masked_signals_equal_one_by_one():
    target, estimate, mixture = (0.1 * torch.randn(2, N) for _ in range(3))
    length = 2500
    for x in (target, estimate, mixture):
        x[1, length:] = 0
    lengths = torch.tensor([N, length])
    both = losses.LossSignals(target, estimate, mixture, lengths)
    alone = losses.LossSignals(*(x[1:, :length] for x in (target, estimate, mixture)))
    for loss in (losses.plcpa, losses.oversuppression, losses.r_log):
        batch = loss(both)
        kept = losses.frame_mask(lengths, batch.shape[1])[1]
        assert torch.allclose(batch[1][kept], loss(alone)[0], atol=1e-5)
    assert torch.allclose(losses.negative_snr(both)[1:], losses.negative_snr(alone))


@pytest.mark.parametrize("gain_db", [-20.0, -6.0, 10.0])
def test_level_changes_neither_losses_nor_their_relative_gradient(gain_db):
    """Every term, so that their weights mean the same for loud and quiet talkers."""
    torch.manual_seed(0)
    gap = signals()["gap"]
    target, noise = gap, 0.05 * torch.randn(1, N)
    factor = 10 ** (gain_db / 20)

    def all_of(factor):
        change = torch.ones(1, N, requires_grad=True)  # relative to the estimate
        waves = (factor * w for w in (target, target + 0.3 * noise, target + noise))
        target_wave, estimate, mixture = waves
        result = list(all_losses(target_wave, estimate * change, mixture))
        return result, [
            torch.autograd.grad(loss, change, retain_graph=True)[0] for loss in result
        ]

    before, after = all_of(1.0), all_of(factor)
    for kind in range(2):
        for one, other in zip(before[kind], after[kind], strict=True):
            assert torch.allclose(one, other, rtol=1e-2, atol=1e-4)


def test_a_mixture_below_the_quietest_level_is_raised_no_further():
    quiet = 1e-5 * tone(1.0)
    signals = losses.LossSignals(quiet, quiet, quiet)
    raised = signals.mixture.abs().max() / quiet.abs().max()
    assert raised.item() == pytest.approx(10 ** ((60 - 26) / 20), rel=1e-3)


def test_r_log_of_an_estimate_ten_decibels_below_the_mixture():
    """Lambda is 0.2 for the function and for the criterion of that name."""
    from espnet_pse_kd.espnet.criterions import RLog

    mixture = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    given = losses.LossSignals(torch.zeros_like(mixture), 10**-0.5 * mixture, mixture)
    wanted = 0.2 * 10 * math.log10(0.1 + 0.01)
    inside = slice(2, -2)
    for frames in (losses.r_log(given), RLog().frame_loss(given)):
        assert frames[0, inside].mean().item() == pytest.approx(wanted, rel=1e-3)
