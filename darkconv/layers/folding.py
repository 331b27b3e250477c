"""Batch norm as a factor and a summand for each channel, in double precision."""

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
    """Turn an overflow during folding into a WeightsError; NaN passes without a warning.

    The processor detects the overflow itself, so no array has to be searched for one.

    Args:
        where: place of the layer, used in the message.

    Yields:
        Nothing; the folding is done inside the context.

    Raises:
        WeightsError: a product or sum of finite numbers exceeds float32.
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
    """Return the factor of batch norm: scale / deviation, with the dialect's epsilon.

    The deviation is sqrt(variance + variance_epsilon) + deviation_epsilon.

    Args:
        dialect: gives the two epsilons.
        arrays: `scales` and `rolling_variance` of a layer, float32 (channels,).

    Returns:
        float64 (channels,).
    """
    variance = arrays["rolling_variance"].astype(np.float64)
    deviation = np.sqrt(variance + dialect.variance_epsilon) + dialect.deviation_epsilon
    return arrays["scales"] / deviation


def norm_summand(factor: Doubles, arrays: Mapping[str, Array]) -> Doubles:
    """Return the summand of batch norm after multiplication: bias - mean * factor.

    Args:
        factor: float64 (channels,), from `norm_factor`.
        arrays: `rolling_mean` and `biases` of the layer; missing biases count as 0.

    Returns:
        float64 (channels,).
    """
    biases = arrays.get("biases", np.zeros(1, np.float32))
    return biases - arrays["rolling_mean"] * factor


def fold_norm(dialect: Dialect, arrays: Mapping[str, Array], *, axis: int) -> tuple[Array, Array]:
    """Return the weights and biases of a layer with its batch norm folded into them.

    Args:
        dialect: gives the epsilons of batch norm.
        arrays: the arrays of the layer by slot name; without batch norm they are returned as they
            are.
        axis: the output channel axis of the weights, from 0.
    """
    weights, biases = arrays["weights"], arrays["biases"]
    if "scales" not in arrays:
        return weights, biases
    factor = norm_factor(dialect, arrays)
    folded = multiply(weights, along(factor, axis, weights.ndim))
    return folded, norm_summand(factor, arrays).astype(np.float32)


def along(factor: Doubles, axis: int, ndim: int) -> Doubles:
    """Return a vector reshaped so that it lies along one axis of an array.

    Args:
        factor: float64 vector.
        axis: the axis, from 0.
        ndim: number of axes of the result; all others have length 1.
    """
    shape = [1] * ndim
    shape[axis] = -1
    return factor.reshape(shape)


def multiply(weights: Array, factor: Doubles) -> Array:
    """Return the product as float32, rounded once, without a float64 copy of the weights.

    Args:
        weights: float32 array of any shape.
        factor: float64 array that broadcasts to that shape, with as many axes.
    """
    product = np.empty(weights.shape, np.float32)
    return np.multiply(weights, factor, out=product, casting="same_kind", dtype=np.float64)
