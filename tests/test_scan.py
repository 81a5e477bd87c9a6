"""The linear recurrence: loop, doubling and a sum by hand agree."""

from __future__ import annotations

import pytest
import torch

from espnet_pse_kd.nets.scan import LinearScan, doubling_scan


def _inputs(frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(frames)
    kwargs = {"generator": generator, "dtype": torch.float64}
    a = torch.rand(frames, 2, 3, **kwargs)
    return a, torch.randn(frames, 2, 3, **kwargs), torch.randn(2, 3, **kwargs)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 37])
def test_doubling_equals_the_recurrence(frames: int):
    a, b, h = _inputs(frames)
    scanned = doubling_scan(a, b, h)
    for t in range(frames):
        h = a[t] * h + b[t]
        torch.testing.assert_close(scanned[t], h)
    torch.testing.assert_close(LinearScan.apply(a, b, _inputs(frames)[2]), scanned)


@pytest.mark.parametrize("frames", [1, 5])
def test_gradients_are_exact(frames: int):
    inputs = [x.requires_grad_(True) for x in _inputs(frames)]
    assert torch.autograd.gradcheck(LinearScan.apply, inputs)


def test_gradients_of_other_devices_are_those_of_the_cpu(monkeypatch):
    grads = []
    for scan in ("loop", "doubling"):
        if scan == "doubling":
            monkeypatch.setattr(
                "espnet_pse_kd.nets.scan._loop",
                lambda a, b, first, reverse: (
                    doubling_scan(a.flip(0), b.flip(0), first).flip(0)
                    if reverse
                    else doubling_scan(a, b, first)
                ),
            )
        inputs = [x.requires_grad_(True) for x in _inputs(21)]
        LinearScan.apply(*inputs).square().sum().backward()
        grads.append([x.grad for x in inputs])
    for by_loop, by_doubling in zip(*grads, strict=True):
        torch.testing.assert_close(by_loop, by_doubling)
