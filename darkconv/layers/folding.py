"""Batch norm as a factor and a summand per channel, in double precision."""

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import Dialect
from darkconv.core.model import Array
from darkconv.errors import WeightsError, Where

Doubles = npt.NDArray[np.float64]


@contextlib.contextmanager
def told_overflow(where: Where) -> Iterator[None]:
    """Turn an overflow in folding into an error of one line; NaN goes on as NaN, quietly.

    The processor notes an overflow by itself, so that no array is read once more to find one.

    Args:
        where: the layer.

    Raises:
        WeightsError: a product or a sum of finite numbers is beyond float32.
    """
    try:
        with np.errstate(over="raise", invalid="ignore", divide="ignore"):
            yield
    except FloatingPointError:
        raise WeightsError(
            "its batch norm, written into weights and biases, gives numbers beyond float32",
            where=where,
            hint="--no-fold leaves batch norm as it is in ONNX files",
        ) from None


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
