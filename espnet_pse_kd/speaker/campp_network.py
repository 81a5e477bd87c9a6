"""The network CAM++ in its form for inference.

Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking", arXiv 2303.00332. Batch normalisation is part of the weights: a
convolution's own is multiplied into it (`tools/convert_campplus.py`), one before an
activation is a scale and a shift (`Affine`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BANDS = 80
DIM = 192
"""Size of the vector."""

_PLANES = 32  # channels of the two-dimensional front end
_GROWTH = 32  # channels that a dense layer adds
_BOTTLENECK = 128
_SEGMENT = 100  # frames of 20 ms over which the context of a mask is averaged
_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation of the dense blocks


class Residual(nn.Module):
    """Basic residual block; a stride above 1 divides the number of bands.

    Args:
        stride: along the bands; time keeps its length.
    """

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_PLANES, _PLANES, 3, (stride, 1), padding=1)
        self.conv2 = nn.Conv2d(_PLANES, _PLANES, 3, padding=1)
        self.shortcut = (
            nn.Conv2d(_PLANES, _PLANES, 1, (stride, 1)) if stride > 1 else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 32, F, T) to (B, 32, F / stride, T)."""
        y = self.conv2(self.conv1(x).relu())  # [B, C, F', T]
        return (y + self.shortcut(x)).relu()


class Affine(nn.Module):
    """Scale and shift of every channel, then ReLU.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T)."""
        return (x * self.scale + self.shift).relu()


class ContextMask(nn.Module):
    """Context-aware masking: a convolution, gated by what the signal is like around.

    The context is the mean over the whole signal and that over a segment of 2 s; its
    gate is therefore one per segment.

    Args:
        dilation: of the convolution.
    """

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.local = nn.Conv1d(
            _BOTTLENECK, _GROWTH, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.squeeze = nn.Conv1d(_BOTTLENECK, _BOTTLENECK // 2, 1)
        self.excite = nn.Conv1d(_BOTTLENECK // 2, _GROWTH, 1)

    def forward(self, x: Tensor, pool: Tensor, spread: Tensor) -> Tensor:
        """(B, 128, T), see `segments`, to (B, 32, T)."""
        context = x @ pool  # [B, C, S]
        mask = self.excite(self.squeeze(context).relu()).sigmoid()  # [B, G, S]
        return self.local(x) * (mask @ spread)  # [B, G, T]


class DenseLayer(nn.Module):
    """A bottleneck and a masked convolution; its output joins its input.

    Args:
        channels: of the input.
        dilation: of the convolution.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norm = Affine(channels)
        self.bottleneck = nn.Conv1d(channels, _BOTTLENECK, 1)
        self.mask = ContextMask(dilation)

    def forward(self, x: Tensor, pool: Tensor, spread: Tensor) -> Tensor:
        """(B, C, T) to (B, C + 32, T)."""
        hidden = self.bottleneck(self.norm(x)).relu()  # [B, 128, T]
        return torch.cat([x, self.mask(hidden, pool, spread)], 1)


class DenseBlock(nn.Module):
    """Densely connected layers, and a projection to half of their channels.

    Args:
        channels: of the input.
        layers: number of dense layers.
        dilation: of their convolutions.
    """

    def __init__(self, channels: int, layers: int, dilation: int) -> None:
        super().__init__()
        widths = [channels + _GROWTH * index for index in range(layers + 1)]
        self.layers = nn.ModuleList(
            DenseLayer(width, dilation) for width in widths[:-1]
        )
        self.norm = Affine(widths[-1])
        self.transit = nn.Conv1d(widths[-1], widths[-1] // 2, 1, bias=False)
        self.width = widths[-1] // 2

    def forward(self, x: Tensor, pool: Tensor, spread: Tensor) -> Tensor:
        """(B, C, T) to (B, (C + 32 layers) / 2, T)."""
        for layer in self.layers:
            x = layer(x, pool, spread)
        return self.transit(self.norm(x))


def segments(frames: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices that average frames over segments, and give a segment's value back.

    Args:
        frames: T.
        like: a tensor of their type and device.

    Returns:
        pool (T, S), whose column s is the mean over all frames plus that over segment
        s, and spread (S, T), 1 where frame t belongs to segment s.
    """
    index = torch.arange(frames, device=like.device)
    of_frame = torch.div(index, _SEGMENT, rounding_mode="floor")
    count = (frames + _SEGMENT - 1) // _SEGMENT
    which = torch.arange(count, device=like.device)
    spread = (which[:, None] == of_frame).to(like.dtype)  # [S, T]
    pool = spread / spread.sum(1, keepdim=True) + 1 / frames
    return pool.T, spread


class CAMPlusPlus(nn.Module):
    """CAM++: a residual front end over bands and time, three dense blocks, statistics.

    6.8 M parameters; a frame of the dense blocks is 20 ms.
    """

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Conv2d(1, _PLANES, 3, padding=1)
        self.residuals = nn.Sequential(*(Residual(stride) for stride in (2, 1, 2, 1)))
        self.reduce = nn.Conv2d(_PLANES, _PLANES, 3, (2, 1), padding=1)
        width = _BOTTLENECK
        self.enter = nn.Conv1d(_PLANES * BANDS // 8, width, 5, 2, padding=2)
        self.blocks = nn.ModuleList()
        for layers, dilation in _BLOCKS:
            block = DenseBlock(width, layers, dilation)
            self.blocks.append(block)
            width = block.width
        self.norm = Affine(width)
        self.embed = nn.Linear(2 * width, DIM)

    def forward(self, fbank: Tensor) -> Tensor:
        """Vectors of pieces of speech.

        Args:
            fbank: (B, T, 80) log mel energies less their mean over time, T >= 3.

        Returns:
            (B, 192), not normalised.
        """
        x = fbank.transpose(1, 2).unsqueeze(1)  # [B, 1, 80, T]
        x = self.reduce(self.residuals(self.front(x).relu())).relu()  # [B, 32, 10, T]
        x = self.enter(x.flatten(1, 2)).relu()  # [B, 128, T / 2]
        pool, spread = segments(x.shape[-1], x)
        for block in self.blocks:
            x = block(x, pool, spread)
        x = self.norm(x)  # [B, 512, T / 2]
        statistics = torch.cat([x.mean(-1), x.std(-1)], -1)  # [B, 1024]
        return self.embed(statistics)
