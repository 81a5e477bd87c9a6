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
    yield losses.plcpa(target, estimate, mixture).sum()
    yield losses.plcpa(target, estimate, mixture, floor_db=-70).sum()
    yield losses.oversuppression(target, estimate, mixture).sum()
    yield losses.r_log(estimate, mixture).sum()
    yield losses.negative_snr(target, estimate).sum()


@pytest.mark.parametrize(
    "names", list(itertools.product(signals(), signals(), ["zero", "tone"]))
)
def test_silence_in_every_position_is_finite(names):
    pool = signals()
    target, mixture = pool[names[0]], pool[names[2]]
    for index in range(5):
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
    floor = 10 ** (-50 / 20) * stft(mixture).abs().square().mean().sqrt()
    s, y = stft(target)[0], stft(estimate)[0]
    ps, py = s.abs() ** 2 + floor**2, y.abs() ** 2 + floor**2
    magnitude = (ps**0.15 - py**0.15) ** 2
    phase = (s * ps**-0.35 - y * py**-0.35).abs() ** 2
    wanted = (0.3 * magnitude + 0.7 * phase).mean(-1)
    got = losses.plcpa(target, estimate, mixture, alpha=0.3)[0]
    assert torch.allclose(got, wanted, rtol=1e-4)
    assert losses.plcpa(target, target, mixture).abs().max() == 0


def test_plcpa_of_a_silent_target_falls_with_the_floor():
    """The floor decides how long a silent frame keeps pushing."""
    silent = torch.zeros(1, N)
    mixture = 0.1 * torch.randn(1, N)
    residue = 1e-3 * mixture  # 60 dB below the mixture
    high = losses.plcpa(silent, residue, mixture, floor_db=-40).mean()
    low = losses.plcpa(silent, residue, mixture, floor_db=-70).mean()
    assert low > 3 * high


def test_oversuppression_counts_missing_energy_only():
    mixture, target = tone(0.2), tone(0.1)
    assert losses.oversuppression(target, 2 * target, mixture).abs().max() < 1e-12
    assert losses.oversuppression(target, 0 * target, mixture).min() > 0.005


def test_r_log_by_hand():
    mixture = tone(0.1)
    middle = slice(3, -3)
    for gain, scale in [(1.0, 1.0), (0.1, 0.5), (0.0, 0.2)]:
        got = losses.r_log(gain * mixture, mixture, scale=scale)[0, middle]
        wanted = scale * 10 * math.log10(gain**2 + 1e-2)
        assert torch.allclose(got, torch.full_like(got, wanted), atol=1e-3)


def test_negative_snr_by_hand_and_its_ceiling():
    target = tone()
    noise = torch.randn(1, N)
    noise *= target.norm() / noise.norm() * 10 ** (-10 / 20)
    got = losses.negative_snr(target, target + noise)
    assert got.item() == pytest.approx(-10, abs=0.3)
    assert losses.negative_snr(target, target).item() == pytest.approx(-30, abs=1e-3)
    assert losses.negative_snr(target * 0, target).item() == 0


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
    target, estimate, mixture = (torch.randn(2, N) for _ in range(3))
    length = 2500
    for x in (target, estimate, mixture):
        x[1, length:] = 0
    lengths = torch.tensor([N, length])
    # The floor is taken from the padded mixture, so compare at a fixed floor.
    batch = losses.r_log(estimate, mixture)
    alone = losses.r_log(estimate[1:, :length], mixture[1:, :length])
    kept = losses.frame_mask(lengths, batch.shape[1])[1]
    assert torch.allclose(batch[1][kept], alone[0], atol=1e-6)
