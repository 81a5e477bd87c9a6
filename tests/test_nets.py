"""What every network of `NETWORKS` must keep: causality, streaming, silence."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.e3net import SIZES, E3Net
from espnet_pse_kd.nets.level import follow_peak

SMALL: dict[str, list[dict[str, object]]] = {
    "e3net": [
        {"filters": 64, "bottleneck": 24, "hidden": 32, "width": 16, **other}
        for other in ({}, {"conditioning": "film"}, {"normalise": False})
    ],
    "mingru": [{"width": 24, "layers": 2, "feed_hidden": 32}],
}
"""Arguments with which each network is tested; its defaults if it is not listed."""

CASES = [
    pytest.param(name, options, id=f"{name}-{index}")
    for name in NETWORKS
    for index, options in enumerate(SMALL.get(name, [{}]))
]
each_network = pytest.mark.parametrize(("name", "options"), CASES)


def build(name: str, options: dict[str, object]) -> nn.Module:
    """A network in float64 whose every parameter matters (none at a neutral start)."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        net = NETWORKS[name](**options)
    finally:
        torch.set_default_dtype(default)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            noise = torch.randn(parameter.shape, generator=generator).to(parameter)
            parameter += 0.1 * noise
    return net.eval()


def speech(batch: int, samples: int) -> Tensor:
    """Noise whose level wanders by 40 dB, so that running levels are exercised."""
    knots = torch.rand(batch, 1, samples // 1600 + 2).double() * 2 - 3
    level = nn.functional.interpolate(knots, samples, mode="linear")[:, 0]
    return torch.randn(batch, samples).double() * 10**level


def speakers(net: nn.Module, batch: int) -> Tensor:
    return nn.functional.normalize(torch.randn(batch, net.speaker_dim).double())


def stream(net: nn.Module, mixture: Tensor, speaker: Tensor, steps: int) -> Tensor:
    """Run ``steps`` hops one by one, and take the stream's lag off."""
    state, pieces = net.init_state(len(mixture)), []
    padded = nn.functional.pad(mixture, (0, steps * net.hop - mixture.shape[1]))
    for frame in padded.split(net.hop, 1):
        piece, state = net.step(frame, speaker, state)
        pieces.append(piece)
    lag = net.latency - net.hop
    return torch.cat(pieces, 1)[:, lag : lag + mixture.shape[1]]


@each_network
@torch.no_grad()
def test_step_by_step_is_the_whole(name: str, options: dict[str, object]) -> None:
    net = build(name, options)
    lag = (net.latency - net.hop) // net.hop
    mixture = speech(2, (1000 - lag) * net.hop - 77)
    speaker = speakers(net, 2)
    whole = net(mixture, speaker)
    assert whole.abs().max() > 1e-4
    streamed = stream(net, mixture, speaker, steps=1000)
    assert streamed.shape == whole.shape
    assert (streamed - whole).abs().max() < 1e-9


@each_network
@torch.no_grad()
def test_declared_latency_is_the_measured_one(
    name: str, options: dict[str, object]
) -> None:
    """Inputs from sample m on are changed; no output before m - latency + 1 moves."""
    net = build(name, options)
    mixture, speaker = speech(1, 20 * net.hop), speakers(net, 1)
    before = net(mixture, speaker)
    furthest = 0
    for m in range(10 * net.hop, 11 * net.hop, 7):
        changed = mixture.clone()
        changed[:, m:] = speech(1, changed.shape[1] - m)
        moved = (net(changed, speaker) != before)[0].nonzero()
        furthest = max(furthest, m - int(moved[0]) + 1)
        assert furthest <= net.latency
    # The windows are small at their ends, where a change may round away.
    assert furthest > net.latency - 8


@each_network
@torch.no_grad()
def test_future_changes_nothing(name: str, options: dict[str, object]) -> None:
    """Exactly nothing, at sample positions on and off the grid of hops."""
    net = build(name, options)
    mixture, speaker = speech(1, 3000), speakers(net, 1)
    before = net(mixture, speaker)
    for n in (1, 159, 160, 161, 1000, 1600, 2503):
        changed = mixture.clone()
        changed[:, n + net.latency - 1 :] *= -50.0
        assert torch.equal(net(changed, speaker)[:, :n], before[:, :n])
        assert not torch.equal(net(changed, speaker), before)


@each_network
@torch.no_grad()
def test_batch_of_lengths_is_one_by_one(name: str, options: dict[str, object]) -> None:
    net = build(name, options)
    lengths = [1, 160, 1234, 4801]
    speaker = speakers(net, len(lengths))
    mixtures = [speech(1, length) for length in lengths]
    batch = torch.cat(
        [nn.functional.pad(x, (0, max(lengths) - x.shape[1])) for x in mixtures]
    )
    together = net(batch, speaker)
    for row, (mixture, length) in enumerate(zip(mixtures, lengths, strict=True)):
        alone = net(mixture, speaker[row : row + 1])
        assert alone.shape == mixture.shape
        torch.testing.assert_close(
            together[row : row + 1, :length], alone, rtol=0, atol=1e-10
        )


INPUTS: dict[str, Callable[[], Tensor]] = {
    "silence": lambda: torch.zeros(2, 2000).double(),
    "silence, then speech": lambda: torch.cat(
        [torch.zeros(2, 1000).double(), speech(2, 1000)], 1
    ),
    "speech, then silence": lambda: torch.cat(
        [speech(2, 1000), torch.zeros(2, 1000).double()], 1
    ),
    "one sample": lambda: speech(2, 1),
    "one silent sample": lambda: torch.zeros(2, 1).double(),
    "full scale": lambda: torch.ones(2, 500).double(),
}


@each_network
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_with_finite_gradients(
    name: str, options: dict[str, object], kind: str, dtype: torch.dtype
) -> None:
    net = build(name, options).to(dtype)
    mixture = INPUTS[kind]().to(dtype).requires_grad_()
    speaker = speakers(net, 2).to(dtype).requires_grad_()
    output = net(mixture, speaker)
    assert output.shape == mixture.shape and torch.isfinite(output).all()
    output.abs().sum().backward()
    parameters = {key: p for key, p in net.named_parameters() if p.requires_grad}
    gradients = {"mixture": mixture.grad, "speaker": speaker.grad}
    gradients |= {key: p.grad for key, p in parameters.items()}
    for key, gradient in gradients.items():
        assert gradient is None or torch.isfinite(gradient).all(), key
    if not mixture.detach().any():
        assert not output.detach().any(), "silence in, silence out"


@each_network
@torch.no_grad()
def test_zero_speaker_vector_and_another_speaker(
    name: str, options: dict[str, object]
) -> None:
    """The vector matters; all zeros, the baseline without personalization, is fine."""
    net = build(name, options)
    mixture, speaker = speech(1, 3200).expand(2, -1), speakers(net, 2)
    first, second = net(mixture, speaker)
    assert (first - second).abs().max() > 1e-6
    assert torch.isfinite(net(mixture, torch.zeros_like(speaker))).all()


@each_network
def test_every_parameter_learns(name: str, options: dict[str, object]) -> None:
    net = build(name, options).train()
    (net(speech(2, 4000), speakers(net, 2))).square().mean().backward()
    idle = [key for key, p in net.named_parameters() if p.grad is None]
    assert not idle
    assert not [key for key, p in net.named_parameters() if not p.grad.any()]


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES)
def test_e3net_sizes_and_start(size: str) -> None:
    """The published size; a start that passes the input through open masks."""
    net = E3Net.of_size(size).eval()
    count = sum(p.numel() for p in net.parameters()) / 1e6
    assert count == pytest.approx(
        {"published": 9.2, "small": 3.66, "tiny": 1.52}[size], rel=0.01
    )
    mixture, speaker = speech(1, 8000).float(), speakers(net, 1).float()
    error = net(mixture, speaker) - mixture
    assert error.square().sum() < 0.1 * mixture.square().sum()
    net.mask.weight.zero_()
    net.mask.bias.fill_(30.0)
    torch.testing.assert_close(net(mixture, speaker), mixture, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_e3net_gain_of_the_input() -> None:
    mixture = speech(1, 8000) + 0.05 * torch.randn(1, 8000).double()
    for normalise in (True, False):
        net = build("e3net", {**SMALL["e3net"][0], "normalise": normalise})
        speaker = speakers(net, 1)
        change = net(0.1 * mixture, speaker) - 0.1 * net(mixture, speaker)
        follows = change.abs().max() < 1e-9
        assert follows == normalise


def test_e3net_refuses() -> None:
    with pytest.raises(ValueError, match="conditioning: 'add'"):
        E3Net(conditioning="add")
    with pytest.raises(ValueError, match="even"):
        E3Net(filters=641)
    with pytest.raises(TypeError):
        E3Net.of_size("tiny", widht=3)


def test_peak_follower_is_the_loop() -> None:
    power, level = torch.randn(50, 3) * 4, torch.tensor([-2.0, 9.0, 0.0])
    expected, last = [], level
    for row in power:
        last = torch.maximum(row, last - 0.3).clamp_min(-3.0)
        expected.append(last)
    found = follow_peak(power, level, decay=0.3, floor=-3.0)
    torch.testing.assert_close(found, torch.stack(expected))
