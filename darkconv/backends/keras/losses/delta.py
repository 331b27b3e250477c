"""Numbers whose derivative is given and not computed from them, or limited."""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from darkconv.backends.keras.losses.parts import summed
from darkconv.backends.keras.scope import Tensor


def with_delta(cost: Tensor, x: Tensor, delta: Tensor) -> Tensor:
    """Return the cost, with `-delta` as its derivative by `x`, however it was computed.

    The C program computes its deltas by hand, and most of them are not the gradient of what it
    prints.

    Args:
        cost: (N,) one number for each picture.
        x: (N, ...) tensor that the derivative is for.
        delta: negated gradient, as in C, of the shape of `x`.
    """
    cost, delta = ops.stop_gradient(cost), ops.stop_gradient(delta)
    nothing = ops.cast(x - ops.stop_gradient(x), delta.dtype)
    return cost - summed(nothing * delta)


def with_limited_slope(cost: Callable[[Tensor], Tensor], raw: Tensor, limit: float) -> Tensor:
    """Compute cost(raw) with its derivative at each entry of `raw` limited to +-limit.

    The limit acts on the cost itself: a factor that is applied to the result scales it too. So the
    gradient that arrives at the cost is replaced by 1, and multiplies the limited gradient
    afterwards: it gets there by a further column of `raw` that nothing else depends on. A function
    with a gradient of its own has one result on some Keras backends, hence a column.

    Args:
        cost: takes raw entries (N, P, k) and returns a cost (N, P), each of its own entries.
        raw: (N, P, k) raw entries.
        limit: largest size of a derivative; may be infinite.
    """
    if math.isinf(limit):
        return cost(raw)

    def limited(raw: Tensor) -> Any:
        def backward(*upstream: Tensor, **named: Tensor) -> Tensor:
            slope = _upstream(upstream, named)
            return ops.clip(slope[..., :-1], -limit, limit) * slope[..., -1:]

        return ops.concatenate([raw, ops.zeros_like(raw[..., :1])], axis=-1), backward

    def swapped(value: Tensor, column: Tensor) -> Any:
        def backward(*upstream: Tensor, **named: Tensor) -> Any:
            factor = _upstream(upstream, named)
            return ops.ones_like(factor), factor

        return value + ops.zeros_like(column), backward

    entries = ops.custom_gradient(limited)(raw)
    return ops.custom_gradient(swapped)(cost(entries[..., :-1]), entries[..., -1])


def _upstream(positional: tuple[Tensor, ...], named: dict[str, Tensor]) -> Tensor:
    """Return the incoming gradient: Keras passes it by name with PyTorch, otherwise alone."""
    return named["upstream"] if "upstream" in named else positional[-1]
