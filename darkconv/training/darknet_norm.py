"""Batch norm in training exactly as Darknet computes it on the CPU (golden/train/README.md).

The variance is the unbiased one, divided by N - 1, also for normalisation; the backward pass has
the derivative for a variance divided by N. On maps of few values this differs from PyTorch's by
percents, on usual ones by nothing that matters: it serves comparisons with the C program.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.dialect import ALEXEYAB

EPSILON = 1e-5
DEVIATION_EPSILON = 1e-6
"""Epsilon that pjreddie adds to the standard deviation, not to the variance."""


def use_darknet_norms(module: DarknetModule) -> None:
    """Let the batch norms of a module train as Darknet's do; inference does not change.

    Args:
        module: module that is changed.
    """
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.train_forward = normalize


def normalize(norm: BatchNorm, x: Tensor) -> Tensor:
    """Normalise channels by the batch's statistics, and update the running ones.

    Args:
        norm: batch norm whose running statistics are updated.
        x: (N, C, ...) its input.

    Returns:
        A tensor of the shape of `x`.
    """
    axes = [0, *range(2, x.ndim)]
    variance, mean = torch.var_mean(x.detach(), axes, correction=1)
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(variance, norm.momentum)
    out: Tensor = _Normalize.apply(x, mean, variance, norm.dialect.follows(ALEXEYAB))  # type: ignore[no-untyped-call]
    shape = (1, -1, *[1] * (x.ndim - 2))
    out = out * norm.weight.view(shape)
    return out if norm.bias is None else out + norm.bias.view(shape)


class _Normalize(torch.autograd.Function):
    """(x - mean) / standard deviation, with Darknet's own backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, alexeyab: bool) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        centred = x - mean.view(shape)
        ctx.save_for_backward(centred, variance.view(shape))
        ctx.alexeyab = alexeyab
        if alexeyab:
            return centred / (variance.view(shape) + EPSILON).sqrt()
        return centred / (variance.view(shape).sqrt() + DEVIATION_EPSILON)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (d,) = gradients
        centred, variance = ctx.saved_tensors
        axes = [0, *range(2, d.ndim)]
        count = d.numel() // d.shape[1]
        inverse = (variance + EPSILON).rsqrt()
        mean_delta = -d.sum(axes, keepdim=True) * inverse
        variance_delta = -0.5 * (d * centred).sum(axes, keepdim=True) * inverse**3
        own = 1 / (variance.sqrt() + EPSILON) if ctx.alexeyab else inverse
        return d * own + (2 * variance_delta * centred + mean_delta) / count, None, None, None
