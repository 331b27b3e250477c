"""Batch norm: written into weights and biases, or a node of its own."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.backends.onnx.graph import SHARED_SIZE
from darkconv.backends.onnx.scope import LayerScope
from darkconv.backends.onnx.tensors import ScaledTensor
from darkconv.core.model import Array
from darkconv.errors import Where
from darkconv.layers.folding import (
    Doubles,
    along,
    multiply,
    norm_factor,
    norm_summand,
    told_overflow,
)


def folded_arrays(scope: LayerScope, *, axis: int) -> list[ir.Value]:
    """Weights and biases of a layer; weights alone where its batch norm does the rest.

    Args:
        scope: of the layer.
        axis: of the weights along which the output channels lie.
    """
    if has_unfolded_norm(scope):
        return [scope.floats(scope.arrays["weights"], "weights")]
    weights, biases = scope.arrays["weights"], scope.arrays["biases"]
    if "scales" not in scope.arrays:
        return [scope.floats(weights, "weights"), scope.floats(biases, "biases")]
    with told_overflow(place_of(scope)):
        factor = norm_factor(scope.layer.spec.dialect, scope.arrays)
        summand = norm_summand(factor, scope.arrays).astype(np.float32)
        scaled = scaled_weights(scope, weights, along(factor, axis, weights.ndim))
    return [scaled, scope.floats(summand, "biases")]


def place_of(scope: LayerScope) -> Where:
    """The layer in the user's file."""
    return scope.network.where(scope.layer.index)


def scaled_weights(scope: LayerScope, weights: Array, factor: Doubles) -> ir.Value:
    """Weights times a factor: large ones are multiplied when they are written."""
    if scope.is_half or weights.size <= SHARED_SIZE:
        return scope.floats(multiply(weights, factor), "weights")
    tensor = ScaledTensor(weights, factor, place_of(scope))
    return scope.graph.tensor(tensor, f"{scope.name}/weights")


def has_unfolded_norm(scope: LayerScope) -> bool:
    """Whether the layer has a batch norm that stays a node."""
    return "scales" in scope.arrays and not scope.graph.options.fold


def unfolded_norm(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Batch norm as a node, where it has not been folded.

    It is in float32, for in half precision a small variance would be zero.
    """
    return scope.in_float32(batch_norm, x) if has_unfolded_norm(scope) else x


def batch_norm(scope: LayerScope, x: ir.Value) -> ir.Value:
    """The operator, with the dialect's divisor.

    What the original adds to the deviation goes into the variance, in double precision, for
    the operator has no place for it.
    """
    dialect, arrays = scope.layer.spec.dialect, scope.arrays
    variance, epsilon = arrays["rolling_variance"], dialect.variance_epsilon
    if dialect.deviation_epsilon:
        with told_overflow(place_of(scope)):
            deviation = np.sqrt(variance.astype(np.float64) + epsilon) + dialect.deviation_epsilon
            variance, epsilon = (deviation**2).astype(np.float32), 0.0
    biases = arrays.get("biases", np.zeros_like(variance))
    return scope.op(
        "BatchNormalization",
        x,
        scope.floats(arrays["scales"], "scales"),
        scope.floats(biases, "biases"),
        scope.floats(arrays["rolling_mean"], "rolling_mean"),
        scope.floats(variance, "rolling_variance"),
        epsilon=epsilon,
    )


def scaled_and_shifted(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Batch norm that stands alone, as one factor and one summand per channel."""
    with told_overflow(place_of(scope)):
        factor = norm_factor(scope.layer.spec.dialect, scope.arrays)
        parts = [per_channel(part) for part in (factor, norm_summand(factor, scope.arrays))]
    scaled = scope.op("Mul", x, scope.floats(parts[0], "factor"))
    return scope.op("Add", scaled, scope.floats(parts[1], "summand"))


def per_channel(values: npt.NDArray[np.floating]) -> Array:
    """(c,) -> (c, 1, 1), to meet (batch, c, h, w)."""
    return values.astype(np.float32).reshape(-1, 1, 1)
