"""LSTM layers as ONNX's own operator, for signals of any length.

`torch.export` fixes the number of frames that an `nn.LSTM` runs over.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.onnx.ops import symbolic_multi_out

_OPSET = 14  # of this form of the operator


class OnnxLSTM(nn.Module):
    """Stands in for one `nn.LSTM` layer while a network is traced; computes nothing.

    Args:
        lstm: one layer, one or two directions, without projection.

    Raises:
        ValueError: it has several layers, or a projection.
    """

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_l0: Tensor

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        if lstm.num_layers != 1 or lstm.proj_size:
            raise ValueError("only LSTMs of one layer without projection are exported")
        self.hidden, self.batch_first = lstm.hidden_size, lstm.batch_first
        self.directions = 2 if lstm.bidirectional else 1
        parts = zip(*map(_weights, [lstm] * self.directions, ("", "_reverse")))
        # Names of `nn.LSTM`, since networks may look at its weights.
        for name, part in zip(("weight_ih_l0", "weight_hh_l0", "bias_l0"), parts):
            self.register_buffer(name, torch.stack(part))  # [directions, 4 H, ...]

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Shapes of `nn.LSTM`: (T, B, I), or (B, T, I) if ``batch_first``."""
        x = x.transpose(0, 1) if self.batch_first else x  # [T, B, I]
        frames, batch, _ = x.shape
        last = (self.directions, batch, self.hidden)
        first = state if state is not None else (None, None)
        y, h, c = symbolic_multi_out(
            "LSTM",
            [x, self.weight_ih_l0, self.weight_hh_l0, self.bias_l0, None, *first],
            {
                "hidden_size": self.hidden,
                "direction": "bidirectional" if self.directions == 2 else "forward",
            },
            dtypes=[x.dtype] * 3,
            shapes=[(frames, *last), last, last],
            version=_OPSET,
        )
        y = y.transpose(1, 2).flatten(2)  # [T, B, directions H]
        return (y.transpose(0, 1) if self.batch_first else y), (h, c)


def replace_lstms(module: nn.Module) -> None:
    """Replace every `nn.LSTM` inside ``module`` by its `OnnxLSTM`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.LSTM):
            setattr(module, name, OnnxLSTM(child))
        else:
            replace_lstms(child)


def _weights(lstm: nn.LSTM, direction: str) -> tuple[Tensor, Tensor, Tensor]:
    """Input and recurrent weights and both biases of one direction, in ONNX's order."""
    recurrent: Tensor = getattr(lstm, f"weight_hh_l0{direction}")
    bias = [
        _reorder(getattr(lstm, f"bias_{kind}_l0{direction}"))
        if lstm.bias
        else recurrent.new_zeros(4 * lstm.hidden_size)
        for kind in ("ih", "hh")
    ]
    return (
        _reorder(getattr(lstm, f"weight_ih_l0{direction}")),
        _reorder(recurrent),
        torch.cat(bias),
    )


def _reorder(gates: Tensor) -> Tensor:
    """Input, forget, cell, output gates to ONNX's input, output, forget, cell."""
    i, f, g, o = gates.detach().chunk(4)
    return torch.cat([i, o, f, g])
