"""Numbers whose derivative is said apart from them, or held within bounds."""

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from darkconv.backends.keras.losses.parts import summed
from darkconv.backends.keras.scope import Tensor


def with_delta(cost: Tensor, x: Tensor, delta: Tensor) -> Tensor:
    """The cost, with `-delta` for its derivative at `x`, whatever the cost was computed from.

    The C program makes deltas by hand, and most of them are not the gradient of what it prints.

    Args:
        cost: (N,), one for each picture.
        x: (N, ...) what the derivative is for.
        delta: of x's shape; the negative gradient, as in C.
    """
    cost, delta = ops.stop_gradient(cost), ops.stop_gradient(delta)
    nothing = ops.cast(x - ops.stop_gradient(x), delta.dtype)
    return cost - summed(nothing * delta)


def with_limited_slope(cost: Callable[[Tensor], Tensor], raw: Tensor, limit: float) -> Tensor:
    """cost(raw), its derivative at each entry of `raw` held within +-limit.

    The limit acts on the cost itself: a factor that is applied to the result scales it too. So
    behind the cost that factor is swapped for 1, and given back to what has been limited by way
    of a further column of `raw` that nothing else depends on. A function with a gradient of its
    own has one result on some Keras backends, hence a column.

    Args:
        cost: from raw entries to costs (N, P), each of its own entries.
        raw: (N, P, k).
        limit: may be infinite.
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
    """The gradient that comes in: Keras hands it over by name with torch, else alone."""
    return named["upstream"] if "upstream" in named else positional[-1]
