"""A fork continues from a trunk's steps, along a schedule of its own length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from espnet2.schedulers.tristage_lr import TristageLR
from espnet2.train.reporter import Reporter

from espnet_pse_kd.espnet.trainer import fork

STEPS = 40


def _scheduler(max_steps: int) -> TristageLR:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    return TristageLR(optimizer, max_steps, 0.1, 0.6, 0.3)


def _walk(scheduler: TristageLR, steps: int) -> list[float]:
    rates = []
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


@pytest.mark.parametrize("max_steps", [100, 60])
def test_the_rate_of_a_fork_runs_its_own_course(tmp_path: Path, max_steps: int):
    trunk = _scheduler(100)
    _walk(trunk, STEPS)
    state = {
        "schedulers": [trunk.state_dict(), None],
        "reporter": Reporter().state_dict(),
    }
    torch.save(state, tmp_path / "trunk.pth")
    fork(tmp_path / "trunk.pth", tmp_path / "fork")

    forked = _scheduler(max_steps)
    states = torch.load(tmp_path / "fork" / "checkpoint.pth", weights_only=False)
    forked.load_state_dict(states["schedulers"][0])

    whole = _walk(_scheduler(max_steps), max_steps)
    assert _walk(forked, max_steps - STEPS) == pytest.approx(whole[STEPS:])
    assert whole[-1] < 0.02
