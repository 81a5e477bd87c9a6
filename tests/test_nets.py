"""What every network of `NETWORKS` must keep: causality, streaming, silence, cost."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from espnet_pse_kd.nets import NETWORKS
from espnet_pse_kd.nets.cost import count_macs, macs_per_second
from espnet_pse_kd.nets.e3net import E3Net
from espnet_pse_kd.nets.level import follow_peak
from espnet_pse_kd.nets.pdccrn import PDCCRN

TUNING = Path(__file__).parents[1] / "conf/tuning"

SMALL: dict[str, list[dict[str, object]]] = {
    "e3net": [
        {"filters": 64, "bottleneck": 24, "hidden": 32, "width": 16, **other}
        for other in ({}, {"conditioning": "film"}, {"normalise": False})
    ],
    "mingru": [{"width": 24, "layers": 2, "feed_hidden": 32}],
    "pdccrn": [
        {"channels": (3, 5), "hidden": 6, "window": 48, "hop": 16, "fft": 64, **other}
        for other in (
            {},
            {"conditioning": "film"},
            {"kernel_frames": 3, "layers": 1, "window": 400, "hop": 100, "fft": 400},
        )
    ],
}
"""Arguments with which each network is tested; its defaults if it is not listed."""

CASES = [
    pytest.param(name, options, id=f"{name}-{index}")
    for name in NETWORKS
    for index, options in enumerate(SMALL.get(name, [{}]))
]
each_network = pytest.mark.parametrize(("name", "options"), CASES)
DTYPES = [
    pytest.param(name, SMALL.get(name, [{}])[0], torch.float32, id=f"{name}-float32")
    for name in NETWORKS
] + [pytest.param(*case.values, torch.float64, id=case.id) for case in CASES]


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


@pytest.mark.parametrize(("name", "options", "dtype"), DTYPES)
@torch.inference_mode()
def test_step_by_step_is_the_whole(
    name: str, options: dict[str, object], dtype: torch.dtype
) -> None:
    net = build(name, options).to(dtype)
    lag = -(-(net.latency - net.hop) // net.hop)
    mixture = speech(2, (1000 - lag) * net.hop - 7).to(dtype)
    speaker = speakers(net, 2).to(dtype)
    whole = net(mixture, speaker)
    peak = whole.abs().max()
    assert peak > 1e-4
    streamed = stream(net, mixture, speaker, steps=1000)
    assert streamed.shape == whole.shape
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4 * peak
    assert (streamed - whole).abs().max() < tolerance


@each_network
@torch.no_grad()
def test_declared_latency_is_the_measured_one(
    name: str, options: dict[str, object]
) -> None:
    """Inputs from sample m on are changed; no output before m - latency + 1 moves."""
    net = build(name, options)
    start = net.latency // net.hop + 9
    mixture, speaker = speech(1, (start + 10) * net.hop), speakers(net, 1)
    before = net(mixture, speaker)
    reach = []
    for m in [*range(start * net.hop, (start + 1) * net.hop, 7), start * net.hop - 1]:
        changed = mixture.clone()
        changed[:, m:] = speech(1, changed.shape[1] - m)
        moved = (net(changed, speaker) != before)[0].nonzero()
        reach.append(m - int(moved[0]) + 1)
    assert max(reach) == net.latency


@each_network
@torch.no_grad()
def test_future_changes_nothing(name: str, options: dict[str, object]) -> None:
    """Exactly nothing, at sample positions on and off the grid of hops."""
    net = build(name, options)
    mixture, speaker = speech(1, 3000), speakers(net, 1)
    before = net(mixture, speaker)
    for n in (1, 159, 160, 161, 1000, 1600, 2499):
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


@each_network
@torch.no_grad()
def test_gain_of_the_input_does_not_matter(
    name: str, options: dict[str, object]
) -> None:
    net = build(name, options)
    mixture = speech(1, 8000) + 0.05 * torch.randn(1, 8000).double()
    speaker = speakers(net, 1)
    expected = 0.1 * net(mixture, speaker)
    change = (net(0.1 * mixture, speaker) - expected).abs().max()
    follows = change < 1e-6 * expected.abs().max()
    assert follows == options.get("normalise", True)


@pytest.mark.parametrize("name", NETWORKS)
def test_docstring_tells_the_facts(name: str) -> None:
    """Paper, latency, parameters and multiply-adds of every network at its defaults."""
    net, text = NETWORKS[name](), " ".join(NETWORKS[name].__doc__.split())
    assert int(re.search(r"[Ll]atency [^.]*?(\d+) samples", text)[1]) == net.latency
    parameters = sum(p.numel() for p in net.parameters())
    for value, unit in (
        (parameters / 1e6, "M parameters"),
        (macs_per_second(net) / 1e9, "GMAC/s"),
    ):
        told = re.search(rf"([\d.]+) {unit}", text)[1]
        decimals = len(told.partition(".")[2])
        assert decimals >= 2 and told == f"{value:.{decimals}f}"
    assert "Shapes:" in text and re.search(r"arXiv \d{4}\.\d{5}", text)


YAMLS = {
    path.stem.removeprefix("train_pse_"): path.read_text()
    for path in sorted(TUNING.glob("train_pse_*.yaml"))
    if yaml.safe_load(path.read_text())["extractor"] in NETWORKS
}
LARGEST = {"e3net_small": 3.0, "mingru": 1.5}
"""Most million parameters of the networks for a few CPU cores."""


def test_every_network_has_a_yaml() -> None:
    assert set(NETWORKS) <= {
        yaml.safe_load(text)["extractor"] for text in YAMLS.values()
    }
    assert set(LARGEST) <= set(YAMLS)


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_tells_its_size(name: str) -> None:
    config = yaml.safe_load(YAMLS[name])
    net = NETWORKS[config["extractor"]](**config["extractor_conf"])
    count = sum(p.numel() for p in net.parameters()) / 1e6
    comment = " ".join(YAMLS[name].partition("encoder:")[0].split())
    assert re.search(r"([\d.]+) M parameters", comment)[1] == f"{count:.1f}"
    assert count <= LARGEST.get(name, 10.0)


@torch.no_grad()
@pytest.mark.parametrize("filters", [2048, 1024, 640])
def test_e3net_starts_as_a_pass(filters: int) -> None:
    """Through open masks, exactly."""
    net = E3Net(filters, bottleneck=32, hidden=32, width=16).eval()
    mixture, speaker = speech(1, 8000).float(), speakers(net, 1).float()
    error = net(mixture, speaker) - mixture
    assert error.square().sum() < 0.1 * mixture.square().sum()
    net.mask.weight.zero_()
    net.mask.bias.fill_(30.0)
    torch.testing.assert_close(net(mixture, speaker), mixture, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_pdccrn_starts_as_a_pass() -> None:
    """Nearly; without the bin at 0 Hz."""
    net = PDCCRN().eval()
    mixture, speaker = speech(1, 8000).float(), speakers(net, 1).float()
    error = net(mixture, speaker) - mixture
    assert error.square().sum() < 0.1 * mixture.square().sum()


@torch.no_grad()
def test_pdccrn_trains_the_function_that_it_evaluates() -> None:
    """No statistics over the batch: neither other signals nor their padding matter."""
    net = build("pdccrn", SMALL["pdccrn"][0])
    mixture, speaker = speech(2, 900), speakers(net, 2)
    evaluated = net(mixture, speaker)
    padded = nn.functional.pad(mixture, (0, 3000))
    trained = net.train()(padded, speaker)[:, :900]
    torch.testing.assert_close(trained, evaluated, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditioning": "add"}, "conditioning: 'add'"),
        ({"channels": ()}, "channels: empty"),
        ({"kernel_bins": 4}, "kernel_bins must be odd"),
        ({"hop": 150}, r"window \(400\) must be 2, 3, ... times hop \(150\)"),
        ({"hop": 400}, "times hop"),
        ({"fft": 500}, r"fft \(500\) must .* a multiple of 128"),
        ({"fft": 384}, r"at least the window \(400\)"),
    ],
)
def test_pdccrn_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PDCCRN(**options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_macs_by_hand(dtype: torch.dtype) -> None:
    def macs(layer: nn.Module, *shape: int) -> int:
        x = torch.zeros(shape, dtype=dtype)
        return count_macs(lambda: layer.to(dtype)(x))

    assert macs(nn.Linear(5, 7), 2, 3, 5) == 2 * 3 * 5 * 7
    # 4 gates of 6 units from 4 inputs and 6 states, then from 6 and 6.
    assert macs(nn.LSTM(4, 6, 2), 5, 3, 4) == 5 * 3 * 24 * ((4 + 6) + (6 + 6))
    assert macs(nn.GRU(4, 6), 5, 3, 4) == 5 * 3 * 18 * (4 + 6)
    # 6 positions fit into 20 samples: (20 - 5) / 3 + 1.
    assert macs(nn.Conv1d(4, 8, 5, stride=3), 2, 4, 20) == 2 * 6 * 8 * 4 * 5
    assert macs(nn.Conv2d(4, 8, (2, 3), groups=4), 1, 4, 5, 9) == 4 * 7 * 8 * 2 * 3
    # Every input sample is spread over 5 output samples.
    assert macs(nn.ConvTranspose1d(4, 8, 5, stride=3), 2, 4, 20) == 2 * 20 * 4 * 8 * 5


def test_e3net_uses_every_weight_once_per_step() -> None:
    net = build("e3net", {**SMALL["e3net"][0], "hop": 80})
    weights = sum(p.numel() for p in net.parameters() if p.dim() == 2)
    assert macs_per_second(net) == 200 * weights


def test_e3net_refuses() -> None:
    with pytest.raises(ValueError, match="conditioning: 'add'"):
        E3Net(conditioning="add")
    with pytest.raises(ValueError, match="even"):
        E3Net(filters=641)


def test_peak_follower_is_the_loop() -> None:
    power, level = torch.randn(50, 3) * 4, torch.tensor([-2.0, 9.0, 0.0])
    expected, last = [], level
    for row in power:
        last = torch.maximum(row, last - 0.3).clamp_min(-3.0)
        expected.append(last)
    found = follow_peak(power, level, decay=0.3, floor=-3.0)
    torch.testing.assert_close(found, torch.stack(expected))
