"""Muon and AdamW as one optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from espnet_pse_kd.optim import MuonAdamW


class Net(nn.Module):
    """Matrices, vectors, and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.relu(self.conv(x)).transpose(1, 2))


def seeded(optimizer: bool = True):
    torch.manual_seed(0)
    net = Net()
    return (net, MuonAdamW(net.parameters(), lr=0.01)) if optimizer else net


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(4, 3, 16), torch.randn(4, 16, 5)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x) - y).square().mean().backward()
        optimizer.step()


def test_update_is_that_of_the_two_optimizers():
    net, optimizer = seeded()
    train(net, optimizer, 5)
    other = seeded(optimizer=False)
    muon = torch.optim.Muon(
        [other.linear.weight], lr=0.01, weight_decay=0, adjust_lr_fn="match_rms_adamw"
    )
    rest = [p for p in other.parameters() if p.ndim != 2]
    adamw = torch.optim.AdamW(rest, lr=0.01, weight_decay=0)

    class Both:
        def zero_grad(self) -> None:
            other.zero_grad()

        def step(self) -> None:
            muon.step()
            adamw.step()

    train(other, Both(), 5)
    for mine, theirs in zip(net.parameters(), other.parameters()):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_resumed_training_goes_on_as_if_never_stopped():
    net, optimizer = seeded()
    train(net, optimizer, 3)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    train(net, optimizer, 3)
    resumed, again = seeded()
    resumed.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    train(resumed, again, 3)
    for name, value in net.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)


def test_a_scheduler_reaches_every_parameter():
    net, optimizer = seeded()
    before = copy.deepcopy(net.state_dict())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
    train(net, optimizer, 2)
    schedule.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_groups_keep_their_own_rate():
    net = seeded(optimizer=False)
    groups = [
        {"params": net.conv.parameters(), "lr": 0.0},
        {"params": net.linear.parameters()},
    ]
    optimizer = MuonAdamW(groups, lr=0.01)
    before = copy.deepcopy(net.state_dict())
    train(net, optimizer, 1)
    after = net.state_dict()
    assert torch.equal(before["conv.weight"], after["conv.weight"])
    assert not torch.equal(before["linear.weight"], after["linear.weight"])
    assert not torch.equal(before["linear.bias"], after["linear.bias"])


def test_only_vectors_or_only_matrices():
    for shape in ((3,), (3, 3)):
        value = nn.Parameter(torch.ones(shape))
        optimizer = MuonAdamW([value], lr=0.1)
        value.square().sum().backward()
        optimizer.step()
        assert (value < 1).any() and value.isfinite().all()


def test_no_parameters():
    with pytest.raises(ValueError, match="empty parameter list"):
        MuonAdamW([])


def averaging() -> tuple[Net, MuonAdamW]:
    torch.manual_seed(0)
    net = Net()
    return net, MuonAdamW(net.parameters(), lr=0.01, average=0.9)


def values(net: nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.parameters()]


def test_average_is_the_loop_and_leaves_the_training_alone():
    net, optimizer = averaging()
    plain, alone = seeded()
    expected = None
    for step in range(1, 8):
        train(net, optimizer, 1)
        train(plain, alone, 1)
        latest = values(plain)
        decay = min(0.9, step / (step + 100))
        if expected is None:
            expected = latest
        expected = [decay * e + (1 - decay) * v for e, v in zip(expected, latest)]
        optimizer.use_average()
        for found, wanted in zip(net.parameters(), expected):
            torch.testing.assert_close(found, wanted)
        optimizer.use_average()  # twice is once
        optimizer.use_latest()
        for found, wanted in zip(net.parameters(), latest):
            torch.testing.assert_close(found, wanted)


def test_average_survives_a_checkpoint():
    net, optimizer = averaging()
    train(net, optimizer, 3)
    optimizer.use_average()
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    other, resumed = averaging()
    other.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    for pair in ((net, optimizer), (other, resumed)):
        pair[1].use_latest()
        train(*pair, 3)
        pair[1].use_average()
    for one, two in zip(net.parameters(), other.parameters()):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_average_is_checked(average):
    with pytest.raises(ValueError, match="average must be"):
        MuonAdamW(Net().parameters(), average=average)
