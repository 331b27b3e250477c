"""with_delta: a number whose derivative is given, not computed from it."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_delta(cost: Tensor, x: Tensor, delta: Tensor) -> Tensor:
    """Return the cost, with `-delta` as its derivative by `x`, however it was computed.

    The C program computes its deltas by hand, and most of them are not the gradient of what it
    prints.

    Args:
        cost: a scalar.
        x: tensor that the derivative is for.
        delta: negated gradient, as in C, of the shape of `x`.
    """
    result: Tensor = _WithDelta.apply(x, cost.detach(), delta.detach())
    return result


class _WithDelta(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cost: Tensor, delta: Tensor) -> Tensor:
        ctx.save_for_backward(delta.to(x.dtype))
        return cost.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (delta,) = ctx.saved_tensors
        return -gradients[0] * delta, None, None
