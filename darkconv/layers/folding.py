"""Batch norm as a factor and a summand per channel, in double precision."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import Dialect
from darkconv.core.model import Array

Doubles = npt.NDArray[np.float64]


def norm_factor(dialect: Dialect, arrays: Mapping[str, Array]) -> Doubles:
    """Scale over deviation, with the dialect's epsilon where it puts it.

    Args:
        dialect: whose divisor holds.
        arrays: `scales` and `rolling_variance` of a layer.
    """
    variance = arrays["rolling_variance"].astype(np.float64)
    deviation = np.sqrt(variance + dialect.variance_epsilon) + dialect.deviation_epsilon
    return arrays["scales"] / deviation


def norm_summand(factor: Doubles, arrays: Mapping[str, Array]) -> Doubles:
    """What is added after multiplying: bias - mean * factor; no biases count as zero."""
    biases = arrays.get("biases", np.zeros(1, np.float32))
    return biases - arrays["rolling_mean"] * factor


def fold_norm(dialect: Dialect, arrays: Mapping[str, Array], *, axis: int) -> tuple[Array, Array]:
    """Weights and biases that do a layer's batch norm too.

    Args:
        dialect: whose divisor holds.
        arrays: of the layer; returned as they are if it has no batch norm.
        axis: of the weights along which the output channels lie.
    """
    weights, biases = arrays["weights"], arrays["biases"]
    if "scales" not in arrays:
        return weights, biases
    factor = norm_factor(dialect, arrays)
    folded = multiply(weights, along(factor, axis, weights.ndim))
    return folded, norm_summand(factor, arrays).astype(np.float32)


def along(factor: Doubles, axis: int, ndim: int) -> Doubles:
    """A vector turned so that it lies along one axis of an array with `ndim` of them."""
    shape = [1] * ndim
    shape[axis] = -1
    return factor.reshape(shape)


def multiply(weights: Array, factor: Doubles) -> Array:
    """Their product, rounded once: no copy of the weights in double precision is made.

    Args:
        weights: of any shape.
        factor: of as many axes, each of length 1 or as long.
    """
    product = np.empty(weights.shape, np.float32)
    return np.multiply(weights, factor, out=product, casting="same_kind", dtype=np.float64)
