"""What a network costs: multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch.utils.flop_counter import FlopCounterMode

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.nets.streaming import StreamingNetwork


def count_macs(function: Callable[[], object]) -> int:
    """Multiply-adds of a call on the CPU.

    Counted are matrix products and convolutions, those inside of recurrent layers
    included. Elementwise operations and FFTs are not: in the networks of this package
    they are a few per cent.

    Args:
        function: what to run; it is run once, without gradients.
    """
    formulas = {torch.ops.aten.mkldnn_rnn_layer: _rnn_flops}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    with torch.no_grad(), counter:
        function()
    return counter.get_total_flops() // 2


def macs_per_second(net: StreamingNetwork) -> float:
    """Multiply-adds per second of audio of a streaming network, see `count_macs`.

    Args:
        net: one of `espnet_pse_kd.nets.NETWORKS`, on the CPU.
    """
    state = net.init_state(1)
    frame = next(net.parameters()).new_zeros(1, net.hop)
    speaker = frame.new_zeros(1, net.speaker_dim)
    return count_macs(lambda: net.step(frame, speaker, state)) * SAMPLE_RATE / net.hop


def _rnn_flops(
    x: Sequence[int], inwards: Sequence[int], recurrent: Sequence[int], *_, **__
) -> int:
    """Operations of a oneDNN recurrent layer, which PyTorch's counter does not know.

    Args:
        x: shape (T, B, I) of the input.
        inwards: shape of the weights from the input.
        recurrent: shape of the weights from the state.
    """
    return 2 * x[0] * x[1] * (prod(inwards) + prod(recurrent))
