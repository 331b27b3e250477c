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
    shape = [1] * weights.ndim
    shape[axis] = -1
    folded = np.empty_like(weights)
    np.multiply(weights, factor.reshape(shape), out=folded, casting="same_kind", dtype=np.float64)
    return folded, norm_summand(factor, arrays).astype(np.float32)
