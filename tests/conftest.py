"""Shared settings: one thread per test process keeps runs comparable and polite."""

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fresh_state() -> None:
    torch.manual_seed(0)
    # onnxruntime leaves its thread rounding denormals to zero; hypothesis refuses that.
    torch.set_flush_denormal(False)
