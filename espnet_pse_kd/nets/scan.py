"""The linear recurrence of minGRU over a whole signal, with an exact gradient."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function


class LinearScan(Function):
    """``h(t) = a(t) h(t-1) + b(t)`` along the first axis.

    Shapes: a, b (T, ...), first (...); the result is (T, ...).

    On a CPU this is a plain loop of in-place fused multiply-adds: faster there than a
    parallel scan, and free of its rounding, so that a streamed pass equals the whole
    one. On other devices, where every step of a loop would be a kernel of its own, it
    is a scan by doubling (Hillis and Steele, 1986): ``log2 T`` passes over all frames.
    """

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, first: Tensor) -> Tensor:
        h = _scan(a, b, first)
        ctx.save_for_backward(a, h, first)
        return h

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, first = ctx.saved_tensors
        # The gradient recurs from the end: g(t) = grad(t) + a(t + 1) g(t + 1).
        following = torch.cat([a[1:], torch.zeros_like(a[:1])])
        grad_b = _scan(following, grad, torch.zeros_like(first), reverse=True)
        grad_a = grad_b * torch.cat([first[None], h[:-1]])
        return grad_a, grad_b, a[0] * grad_b[0]


def _scan(a: Tensor, b: Tensor, first: Tensor, reverse: bool = False) -> Tensor:
    if a.device.type == "cpu":
        return _loop(a, b, first, reverse)
    if reverse:
        return doubling_scan(a.flip(0), b.flip(0), first).flip(0)
    return doubling_scan(a, b, first)


def _loop(a: Tensor, b: Tensor, first: Tensor, reverse: bool) -> Tensor:
    """One fused multiply-add per frame."""
    h = torch.empty_like(b)
    previous = first
    order = slice(None, None, -1 if reverse else 1)
    # Unbinding at once is cheaper than indexing at every step.
    steps = zip(a.unbind()[order], b.unbind()[order], h.unbind()[order], strict=True)
    for a_t, b_t, h_t in steps:
        torch.addcmul(b_t, a_t, previous, out=h_t)
        previous = h_t
    return h


def doubling_scan(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """`LinearScan` in ``log2 T`` passes.

    After the pass of stride s, ``(a, b)`` of a frame composes the last 2 s frames. As
    ``|a| <= 1`` in a minGRU, the products only shrink.

    Args:
        a, b: (T, ...)
        first: (...) state before the first frame.

    Returns:
        (T, ...)
    """
    b = torch.cat([torch.addcmul(b[:1], a[:1], first[None]), b[1:]])
    stride = 1
    while stride < len(a):
        b = torch.cat([b[:stride], torch.addcmul(b[stride:], a[stride:], b[:-stride])])
        a = torch.cat([a[:stride], a[stride:] * a[:-stride]])
        stride *= 2
    return b
