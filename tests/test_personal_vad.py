"""The personal VAD: framing, causality, conditioning, and its loss."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from espnet_pse_kd.activity import (
    LABEL_MARGIN,
    NS,
    NTSS,
    TSS,
    activity,
    resample_frames,
    vad_classes,
)
from espnet_pse_kd.nets.personal_vad import (
    IGNORE,
    PersonalVAD,
    weighted_pairwise_loss,
)
from espnet_pse_kd.speaker.mel import HOP, mel_power
from espnet_pse_kd.stft import HOP as LOSS_HOP
from espnet_pse_kd.stft import num_frames

CONFIGURATIONS = [
    {"conditioning": conditioning, "injection": injection, "bidirectional": both}
    for conditioning, injection in (
        ("et", "film"),
        ("et", "concat"),
        ("st", "film"),
        ("set", "film"),
        ("set", "concat"),
    )
    for both in (False, True)
] + [
    {"conditioning": "st", "bidirectional": True, "bands": 80, "stack": 2},
    {"conditioning": "st", "bidirectional": False, "comparisons": 0},
]
each_configuration = pytest.mark.parametrize(
    "options", CONFIGURATIONS, ids=lambda o: "-".join(map(str, o.values()))
)


def vectors(*shape: int) -> Tensor:
    return torch.nn.functional.normalize(torch.rand(*shape, 256), dim=-1)


def inputs(batch: int, samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mixture, enrolment vectors and window vectors."""
    mixture = 0.05 * torch.randn(batch, samples)
    return mixture, vectors(batch), vectors(batch, num_frames(samples, 4000))


@each_configuration
@torch.no_grad()
def test_shape_and_gain(options: dict[str, object]) -> None:
    net = PersonalVAD(hidden=16, **options).eval()
    for samples in (1, 159, 160, 161, 8000):
        mixture, enrolment, windows = inputs(2, samples)
        logits = net(mixture, enrolment, windows)
        assert logits.shape == (2, num_frames(samples, HOP), 3)
        louder = net(8 * mixture, enrolment, windows)
        torch.testing.assert_close(louder, logits, atol=1e-3, rtol=0)


@each_configuration
@pytest.mark.parametrize("samples", [1, 4000])
def test_silence_is_finite(options: dict[str, object], samples: int) -> None:
    net = PersonalVAD(hidden=16, **options)
    _, enrolment, windows = inputs(2, samples)
    mixture = torch.zeros(2, samples, requires_grad=True)
    logits = net(mixture, enrolment, windows)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert torch.isfinite(mixture.grad).all()
    gradients = {key: p.grad for key, p in net.named_parameters()}
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


@each_configuration
@torch.no_grad()
def test_conditioning_is_heard(options: dict[str, object]) -> None:
    net = PersonalVAD(hidden=16, **options).eval()
    mixture, enrolment, windows = inputs(1, 8000)
    before = net(mixture, enrolment, windows)
    assert not torch.equal(net(mixture, vectors(1), windows), before)
    uses_scores = options["conditioning"] != "et"
    other = net(mixture, enrolment, vectors(1, windows.shape[1]))
    assert torch.equal(other, before) != uses_scores
    if uses_scores:
        with pytest.raises(ValueError, match="window_vectors"):
            net(mixture, enrolment)


@pytest.mark.parametrize("stack", [1, 2])
@torch.no_grad()
def test_frames_see_their_window_and_the_past(stack: int) -> None:
    """A causal frame t reads samples before 160 t + 200, and reads its centre."""
    net = PersonalVAD("et", hidden=16, stack=stack).eval()
    mixture, enrolment, _ = inputs(1, 8000)
    before = net(mixture, enrolment)[0]
    for position in (1000, 4000, 4039, 4041, 7999):
        changed = mixture.clone()
        changed[:, position:] = torch.randn(1, 8000 - position)
        moved = (net(changed, enrolment)[0] != before).any(-1).nonzero().flatten()
        first = int(moved[0])
        seen = HOP * (first + stack - 1 - first % stack) + 200
        assert seen > position, "a frame saw the future"
        assert HOP * first <= position + HOP, "a frame missed its own window"


@torch.no_grad()
def test_bidirectional_frames_see_the_future() -> None:
    net = PersonalVAD("et", hidden=16, bidirectional=True).eval()
    mixture, enrolment, _ = inputs(1, 8000)
    changed = mixture.clone()
    changed[:, 7000:] *= 3
    assert not torch.equal(net(changed, enrolment)[:, 0], net(mixture, enrolment)[:, 0])


@torch.no_grad()
def test_scores_sit_at_the_centres_of_their_windows() -> None:
    net = PersonalVAD("st", hidden=16)
    net.score_offset.zero_()
    net.score_scale.fill_(1.0)
    enrolment, windows = vectors(2), vectors(2, 5)
    scores = net._scores(enrolment, windows, frames=101)[..., 0]
    cosine = torch.einsum("bkd,bd->bk", windows, enrolment)
    torch.testing.assert_close(scores[:, ::25], cosine)
    torch.testing.assert_close(scores[:, 5], cosine @ torch.tensor([0.8, 0.2, 0, 0, 0]))


@settings(deadline=None, max_examples=30)
@given(position=st.integers(4000, 40000), scale=st.floats(0.02, 0.5))
def test_onset_of_a_burst(position: int, scale: float) -> None:
    """Labels and posteriors put an onset within one frame, at both frame rates.

    The network is replaced by an energy detector on its own mel frames: this is about
    where frames are, not about what a network has learnt.
    """
    samples = 56000
    burst = torch.zeros(1, samples)
    # A buzz: unlike noise, it has the same power in every frame.
    time = torch.arange(12000) / 16000
    buzz = sum(torch.sin(2 * torch.pi * 200 * k * time + k * k) for k in range(1, 30))
    burst[:, position : position + 12000] = scale * buzz / 6
    mixture = burst + 1e-4 * torch.randn(1, samples)

    power = mel_power(mixture).sum(-1)  # [B, T]
    # A tone that fills half of a window has half the amplitude, a quarter of the power;
    # a little less leaves room for the phases of the buzz.
    onset = power[:, position // HOP + 4 : position // HOP + 70].mean() / 6
    logits = torch.zeros(1, power.shape[1], 3)
    logits[..., TSS] = 4 * (power / onset).log() + math.log(2)  # even odds at onset
    target = logits.softmax(-1)[..., TSS]
    at_loss = resample_frames(target, HOP, LOSS_HOP, num_frames(samples))
    assert abs(_onset(target > 0.5, HOP) - position) <= HOP
    assert abs(_onset(at_loss > 0.5, LOSS_HOP) - position) <= LOSS_HOP

    assert abs(_onset(activity(burst), LOSS_HOP) - position) <= LOSS_HOP
    labels = vad_classes(burst, torch.zeros_like(burst))
    margin = LABEL_MARGIN * LOSS_HOP
    assert abs(_onset(labels == TSS, LOSS_HOP) + margin - position) <= LOSS_HOP
    moved = resample_frames(labels, LOSS_HOP, HOP, num_frames(samples, HOP))
    # Nearest label: at most half a loss frame on top.
    late = _onset(moved == TSS, HOP) + margin - position
    assert abs(late) <= 1.5 * LOSS_HOP
    assert abs(_onset(moved == TSS, HOP) - _onset(labels == TSS, LOSS_HOP)) <= HOP


def _onset(active: Tensor, hop: int) -> int:
    return int(active[0].nonzero()[0]) * hop


def test_loss_by_hand() -> None:
    logits = torch.tensor([[[1.0, -0.5, 2.0], [0.0, 0.0, 0.0], [3.0, 1.0, 0.0]]])

    def pair(right: float, wrong: float) -> float:
        return math.log(1 + math.exp(wrong - right))

    expected = (
        (0.1 * pair(1.0, -0.5) + pair(1.0, 2.0)) / 2
        + (pair(0, 0) + pair(0, 0)) / 2
        + (0.1 * pair(1.0, 3.0) + pair(1.0, 0.0)) / 2
    ) / 3
    labels = torch.tensor([[NS, TSS, NTSS]])
    assert weighted_pairwise_loss(logits, labels).item() == pytest.approx(expected)
    even = weighted_pairwise_loss(logits[:, 1:2], labels[:, 1:2], 1.0)
    assert even.item() == pytest.approx(math.log(2))


def test_loss_without_frames() -> None:
    logits = torch.randn(2, 4, 3, requires_grad=True)
    labels = torch.full((2, 4), IGNORE)
    loss = weighted_pairwise_loss(logits, labels)
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    labels[0, 1] = TSS
    some = weighted_pairwise_loss(logits, labels)
    torch.testing.assert_close(
        some, weighted_pairwise_loss(logits[:1, 1:2], labels[:1, 1:2])
    )


def test_cheap_errors_are_cheap() -> None:
    """Confusing ns with ntss costs a tenth of confusing either with tss."""
    sure = torch.tensor([[[20.0, -20.0, 0.0], [-20.0, 0.0, 20.0]]])
    ns_for_ntss = weighted_pairwise_loss(sure[:, :1], torch.tensor([[NTSS]]), 0.1)
    tss_for_ns = weighted_pairwise_loss(sure[:, 1:], torch.tensor([[NS]]), 0.1)
    assert ns_for_ntss.item() == pytest.approx((0.1 * 40 + 20) / 2)
    assert tss_for_ns.item() == pytest.approx((0.1 * 20 + 40) / 2)


def test_it_learns() -> None:
    """A few steps on one batch whose scores tell target from interferer."""
    net = PersonalVAD("set", hidden=24)
    enrolment, other = vectors(4), vectors(4)
    labels = torch.full((4, 101), NS)
    labels[:, 20:50], labels[:, 60:95] = TSS, NTSS
    envelope = torch.nn.functional.interpolate(
        (labels != NS).float()[:, None], 16000, mode="nearest"
    )[:, 0]
    mixture = 0.1 * torch.randn(4, 16000) * envelope + 1e-3 * torch.randn(4, 16000)
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0])[:, None]
    windows = torch.nn.functional.normalize(
        target * enrolment[:, None] + (1 - target) * other[:, None], dim=-1
    )
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        logits = net(mixture, enrolment, windows)
        weighted_pairwise_loss(logits, labels).backward()
        optimizer.step()
    assert (logits.argmax(-1) == labels).float().mean() > 0.9


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match="conditioning: 'ets' is none of et, st, set"):
        PersonalVAD("ets")
    with pytest.raises(ValueError, match="injection: 'add' is none of film, concat"):
        PersonalVAD(injection="add")
