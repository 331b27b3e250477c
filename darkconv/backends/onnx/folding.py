"""Batch norm, folded into weights and biases, or as a node of its own."""

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
    """Return weights and biases of a layer; weights alone where its batch norm stays a node.

    Args:
        scope: scope of the layer.
        axis: axis of the output channels in the weights.
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
    """Return the place of the layer in the user's file, for messages.

    Args:
        scope: scope of the layer.
    """
    return scope.network.where(scope.layer.index)


def scaled_weights(scope: LayerScope, weights: Array, factor: Doubles) -> ir.Value:
    """Return weights times a factor; large weights are multiplied only when they are written.

    Args:
        scope: scope of the layer.
        weights: float32 array.
        factor: float64 array that is broadcast to the weights.
    """
    if scope.is_half or weights.size <= SHARED_SIZE:
        return scope.floats(multiply(weights, factor), "weights")
    tensor = ScaledTensor(weights, factor, place_of(scope))
    return scope.graph.tensor(tensor, f"{scope.name}/weights")


def has_unfolded_norm(scope: LayerScope) -> bool:
    """Return True if the layer has a batch norm that stays a node.

    Args:
        scope: scope of the layer.
    """
    return "scales" in scope.arrays and not scope.graph.options.fold


def unfolded_norm(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return a value after the batch norm node, or as it is where the batch norm was folded.

    The node computes in float32, because in half precision a small variance would be zero.

    Args:
        scope: scope of the layer.
        x: (batch, channels, ...).
    """
    return scope.in_float32(batch_norm, x) if has_unfolded_norm(scope) else x


def batch_norm(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return the output of the BatchNormalization node, with the dialect's epsilon.

    The original dialect adds an epsilon to the standard deviation, for which the operator has no
    place. It is added to the variance instead, in float64.

    Args:
        scope: scope of the layer, in float32.
        x: (batch, channels, ...).
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
    """Return the output of a [batchnorm] layer, as one factor and one summand for each channel.

    Args:
        scope: scope of the layer.
        x: (batch, channels, height, width).
    """
    with told_overflow(place_of(scope)):
        factor = norm_factor(scope.layer.spec.dialect, scope.arrays)
        parts = [per_channel(part) for part in (factor, norm_summand(factor, scope.arrays))]
    scaled = scope.op("Mul", x, scope.floats(parts[0], "factor"))
    return scope.op("Add", scaled, scope.floats(parts[1], "summand"))


def per_channel(values: npt.NDArray[np.floating]) -> Array:
    """Return values of shape (channels,) as (channels, 1, 1), to be broadcast to feature maps.

    Args:
        values: one number for each channel.
    """
    return values.astype(np.float32).reshape(-1, 1, 1)
