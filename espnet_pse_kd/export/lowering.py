"""Operators that ONNX lacks or that do not run everywhere, in terms of others.

A network is exported as it stands: `torch.export` traces it, and these functions take
the place of the operators named in `DECOMPOSITIONS`. Discrete Fourier transforms become
products with real matrices, since onnxruntime's DFT takes no real inverse and other
runtimes have none at all; the matrices are computed when a session opens, and take no
room in the file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_LONGEST = 1 << 20
"""Longest running maximum of an axis that has no fixed length."""


def _angles(times: int, frequencies: int, size: int) -> Tensor:
    """Phases (times, frequencies) of a Fourier matrix of a size, in radians."""
    time = torch.arange(times, dtype=torch.float32)
    frequency = torch.arange(frequencies, dtype=torch.float32)
    # The remainder keeps the products exact and the cosine's argument small.
    return torch.remainder(time[:, None] * frequency, size) * (2 * math.pi / size)


def _rfft(x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None):
    """Cosines of the even part, sines of the odd part: half the products."""
    size = x.shape[-1] if n is None else n
    if dim != -1 or norm is not None or size % 2 or size < x.shape[-1]:
        return NotImplemented
    half = size // 2
    x = torch.nn.functional.pad(x, (0, size - x.shape[-1]))  # [..., N]
    left, right = x[..., : half + 1], x[..., half + 1 :].flip(-1)
    mirrored = torch.nn.functional.pad(right, (1, 1))  # [..., N / 2 + 1]
    angles = _angles(half + 1, half + 1, size)
    real = (left + mirrored) @ angles.cos()  # [..., F]
    return torch.complex(real, (mirrored - left) @ angles.sin())


def _irfft(x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None):
    """One half of the signal from each sum of the even and the odd part."""
    if n is None or n % 2 or dim != -1 or norm is not None:
        return NotImplemented
    half = n // 2
    angles = _angles(half + 1, half + 1, n)
    once = torch.ones(1)
    weights = torch.cat([once, torch.full((half - 1,), 2.0), once])[:, None] / n
    parts = torch.view_as_real(x)  # [..., F, 2]
    even = parts[..., 0] @ (weights * angles.cos())  # [..., N / 2 + 1]
    odd = parts[..., 1] @ (weights * angles.sin())
    mirrored = (even + odd)[..., 1:-1].flip(-1)
    return torch.cat([even - odd, mirrored], -1)  # [..., N]


def _stft(
    x: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
):
    """A strided convolution with windowed waves, without padding."""
    if win_length not in (None, n_fft) or normalized or window is None:
        return NotImplemented
    angles = _angles(n_fft // 2 + 1, n_fft, n_fft)  # [F, W]
    waves = torch.cat([angles.cos(), -angles.sin()]) * window  # [2 F, W]
    parts = torch.nn.functional.conv1d(
        x[:, None], waves[:, None], stride=hop_length or n_fft // 4
    )  # [B, 2 F, T]
    return torch.complex(*parts.chunk(2, 1))  # [B, F, T]


def _mul(x: Tensor, y: Tensor):
    """A mask on a spectrum, without a complex product."""
    if not x.is_complex() or y.is_complex():
        return NotImplemented
    return torch.view_as_complex(torch.view_as_real(x) * y.unsqueeze(-1))


def _select_scatter(x: Tensor, source: Tensor, dim: int, index: int):
    """Writing the only row of ``x``, as a loop over one frame does."""
    return source.unsqueeze(dim) if x.shape[dim] == 1 else NotImplemented


def _cummax(x: Tensor, dim: int):
    """Running maximum, in steps that double; the indices are not used by anyone."""
    length = x.shape[dim]
    longest = length if isinstance(length, int) else _LONGEST
    y, shift = x.transpose(dim, -1), 1
    while shift < longest:
        before = torch.nn.functional.pad(y, (shift, 0), value=-math.inf)
        y = torch.maximum(y, before[..., : y.shape[-1]])
        shift *= 2
    y = y.transpose(dim, -1)
    return y, torch.zeros_like(y, dtype=torch.int64)


_aten = torch.ops.aten
DECOMPOSITIONS: dict[torch._ops.OpOverload, Callable[..., object]] = {
    _aten.fft_rfft.default: _rfft,
    _aten.fft_irfft.default: _irfft,
    _aten.stft.default: _stft,
    _aten.mul.Tensor: _mul,
    _aten.select_scatter.default: _select_scatter,
    _aten.cummax.default: _cummax,
}
"""For `torch.export.ExportedProgram.run_decompositions`."""
