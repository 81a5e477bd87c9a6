"""The gate: which frames, which weights, and the controls."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_pse_kd.activity import NTSS, TSS
from espnet_pse_kd.gate import SHORTEST_SHIFT, Gate

T = 400


def scene(batch: int = 3):
    generator = torch.Generator().manual_seed(1)
    target = torch.rand(batch, T, generator=generator) < 0.4
    target[0] = False  # an inactive-target sample
    interferer = torch.rand(batch, T, generator=generator) < 0.7
    posterior = torch.rand(batch, T, 3, generator=generator).softmax(-1)
    posterior = torch.log_softmax(8 * posterior, -1).exp()
    return target, interferer, posterior


def test_only_nontarget_speech_is_gated_by_default():
    target, interferer, posterior = scene()
    out = Gate("soft")(target, interferer, posterior)
    assert torch.equal(out.gated, ~target & interferer)
    assert (out.weights[~out.gated] == 1).all()
    q = posterior[..., TSS]
    assert torch.allclose(out.weights[out.gated], (1 - q)[out.gated])


def test_scopes_and_frames():
    target, interferer, posterior = scene()
    assert torch.equal(
        Gate("soft", frames="nontarget")(target, interferer, posterior).gated, ~target
    )
    its = Gate("soft", scope="its")(target, interferer, posterior).gated
    assert its[0].any() and not its[1:].any()


def test_hard_gate_by_threshold_and_by_argmax():
    target, interferer, posterior = scene()
    gated = ~target & interferer
    q = posterior[..., TSS]
    hard = Gate("hard", theta=0.3)(target, interferer, posterior).weights
    assert torch.equal(hard == 0, gated & (q > 0.3))
    top = Gate("hard", rule="argmax")(target, interferer, posterior).weights
    assert torch.equal(top == 0, gated & (posterior.argmax(-1) == TSS))
    assert set(hard.unique().tolist()) == {0.0, 1.0}


@given(st.floats(0.1, 5), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_soft_weights_fall_with_the_posterior(kappa, q):
    posterior = torch.zeros(1, 1, 3)
    posterior[..., TSS], posterior[..., NTSS] = q, 1 - q
    inactive, active = torch.zeros(1, 1).bool(), torch.ones(1, 1).bool()
    out = Gate("soft", kappa=kappa)(inactive, active, posterior)
    assert out.weights.item() == pytest.approx((1 - q) ** kappa, abs=1e-5)
    # The target speaks: the teacher has no say.
    assert Gate("soft", kappa=kappa)(active, active, posterior).weights.item() == 1


@pytest.mark.parametrize("permute", ["frames", "shift"])
def test_shuffled_controls_keep_frames_and_sum(permute):
    target, interferer, posterior = scene()
    true = Gate("soft")(target, interferer, posterior)
    control = Gate("soft", permute=permute)(target, interferer, posterior)
    assert torch.equal(true.gated, control.gated)
    assert (control.weights[~control.gated] == 1).all()
    for w, v, gated in zip(true.weights, control.weights, true.gated):
        assert not torch.equal(w, v)
        assert torch.equal(w[gated].sort().values, v[gated].sort().values)


def test_shift_rolls_by_at_least_a_second_and_keeps_runs():
    gate = Gate("soft", permute="shift")
    interferer = torch.ones(1, T).bool()
    posterior = torch.zeros(1, T, 3)
    posterior[0, 100:110, TSS] = 1
    for seed in range(20):
        torch.manual_seed(seed)
        weights = gate(~interferer, interferer, posterior).weights[0]
        closed = (weights == 0).nonzero()[:, 0]
        start = int(closed[0])
        if start == 0:  # the run wrapped round the end
            continue
        assert closed.tolist() == list(range(start, start + 10))
        away = min((start - 100) % T, (100 - start) % T)
        assert away >= SHORTEST_SHIFT


def test_constant_and_none_need_no_teacher():
    target, interferer, _ = scene()
    out = Gate("constant", constant=0.3)(target, interferer)
    assert torch.equal(out.weights, torch.where(out.gated, 0.3, 1.0))
    assert (Gate()(target, interferer).weights == 1).all()
    assert not Gate("constant", constant=0.3).needs_teacher
    with pytest.raises(ValueError, match="posteriors"):
        Gate("soft")(target, interferer)


def test_closed_share():
    target, interferer, posterior = scene()
    posterior = torch.zeros_like(posterior)
    posterior[:, : T // 2, TSS] = 1
    out = Gate("hard")(target, interferer, posterior)
    wanted = out.gated[:, : T // 2].sum() / out.gated.sum()
    assert out.closed_share == pytest.approx(wanted.item())
    assert Gate()(torch.ones_like(target), interferer).closed_share == 0


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "medium"},
        {"theta": 1.5},
        {"kappa": 0.0},
        {"constant": -1.0},
        {"scope": "some"},
        {"permute": "shift"},
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Gate(**options)


def test_hard_gate_stops_the_gradient_of_its_frames():
    from espnet_pse_kd.losses import reduce_frames

    target, interferer, posterior = scene()
    loss = torch.rand(3, T, requires_grad=True)
    out = Gate("hard", theta=0.3)(target, interferer, posterior)
    reduce_frames(loss, out.weights).mean().backward()
    assert torch.equal(loss.grad == 0, out.weights == 0)
    kept = loss.grad[out.weights == 1]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (3 * T)))
