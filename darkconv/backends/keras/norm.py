"""Builders of batchnorm, normalization, l2norm, activation, softmax and logistic layers."""

import math

import numpy as np
from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.places import ArrayPlace, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.layers import norm
from darkconv.layers.folding import told_overflow

MOMENTUM = 0.99  # share of the old running statistics, as in C
NORM_VARIABLES = {
    "biases": "beta",
    "scales": "gamma",
    "rolling_mean": "moving_mean",
    "rolling_variance": "moving_variance",
}


def norm_places(part: str) -> dict[str, ArrayPlace]:
    """Return where the arrays of a batch norm lie.

    Args:
        part: last part of the Keras layer's name, "" for the main layer.
    """
    return {slot: ArrayPlace(part, variable) for slot, variable in NORM_VARIABLES.items()}


def normalize(scope: LayerScope, x: Tensor, part: str = "bn") -> Tensor:
    """Build a batch norm over the last axis, with the divisor of the dialect.

    Args:
        scope: of the layer whose batch norm it is.
        x: (N, H, W, C) or (N, C).
        part: last part of the Keras layer's name, "" for the main layer.
    """
    return scope.learn(
        layers.BatchNormalization,
        corrected(scope, x),
        part=part,
        momentum=MOMENTUM,
        epsilon=scope.layer.spec.dialect.batch_epsilon,
        center="biases" in scope.arrays,
    )


def corrected(scope: LayerScope, x: Tensor) -> Tensor:
    """Return x scaled so that Keras's batch norm divides it as the dialect does.

    Keras divides by sqrt(variance + batch_epsilon). pjreddie's sqrt(variance) + 1e-6 has no such
    epsilon, but mean + (x - mean) * c gives the same quotient, with c as the ratio of the two
    divisors. The scaling comes before the batch norm, so the stored arrays and their meaning stay.

    Args:
        scope: of the layer whose batch norm it is.
        x: (N, H, W, C) or (N, C).

    Raises:
        WeightsError: a factor is too large for float32.
    """
    dialect = scope.layer.spec.dialect
    if not dialect.deviation_epsilon:
        return x
    variance = scope.arrays["rolling_variance"].astype(np.float64)
    mean = scope.arrays["rolling_mean"].astype(np.float64)
    with told_overflow(scope.network.where(scope.layer.index)):
        divisor = np.sqrt(variance + dialect.variance_epsilon) + dialect.deviation_epsilon
        factor = np.sqrt(variance + dialect.batch_epsilon) / divisor
        scale, offset = (v.astype(np.float32) for v in (factor, mean * (1 - factor)))
    return scope.add(layers.Rescaling, "divisor", x, scale=scale, offset=offset)


@BUILDERS.register(norm.Batchnorm)
def build_batchnorm(scope: LayerScope) -> Tensor:
    """Build a batch norm; pjreddie's has no biases.

    Args:
        scope: of the [batchnorm] layer, in whose graph it is built.
    """
    return normalize(scope, scope.map(), part="")


@PLACES.register(norm.Batchnorm)
def batchnorm_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where the arrays of a batch norm lie: in the main Keras layer.

    Args:
        layer: [batchnorm] layer.
        _: its network, which is not needed.
    """
    return {slot.name: norm_places("")[slot.name] for slot in layer.slots}


@BUILDERS.register(norm.Normalization)
def build_normalization(scope: LayerScope) -> Tensor:
    """Build a local response normalisation with C's missing term.

    Args:
        scope: of the [normalization] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, norm.Normalization)
    x, middle = scope.map(), spec.size // 2
    channels = scope.layer.in_shapes[0].c
    square = scope.op("square", x)
    padded = scope.op("pad", square, ((0, 0),) * 3 + (((spec.size - 1) // 2, middle),))
    window = scope.channels(padded, 0, channels)
    for start in range(1, spec.size):
        window = scope.op("add", window, scope.channels(padded, start, start + channels))
    window = scope.op("subtract", window, scope.channels(square, middle, middle + 1))
    base = scope.op("add", scope.op("multiply", window, spec.alpha), spec.kappa)
    return scope.finish(scope.op("multiply", x, scope.op("power", base, -spec.beta)))


@BUILDERS.register(norm.L2norm)
def build_l2norm(scope: LayerScope) -> Tensor:
    """Build a division of each pixel by the L2 norm of its channels.

    Args:
        scope: of the [l2norm] layer, in whose graph it is built.
    """
    x = scope.map()
    total = scope.op("sum", scope.op("square", x), axis=-1, keepdims=True)
    return scope.finish(scope.op("divide", x, scope.op("sqrt", total)))


@BUILDERS.register(norm.Activation)
def build_activation(scope: LayerScope) -> Tensor:
    """Build an activation function by itself.

    Args:
        scope: of the [activation] layer, in whose graph it is built.
    """
    assert isinstance(scope.layer.spec, norm.Activation)
    return scope.finish(activate(scope, scope.x, scope.layer.spec.activation))


@BUILDERS.register(norm.Logistic)
def build_logistic(scope: LayerScope) -> Tensor:
    """Build a sigmoid.

    Args:
        scope: of the [logistic] layer, in whose graph it is built.
    """
    return scope.add(layers.Activation, "", scope.x, activation="sigmoid")


@BUILDERS.register(norm.Softmax)
def build_softmax(scope: LayerScope) -> Tensor:
    """Build a softmax over groups of the flattened input, or over the groups of a class tree.

    Args:
        scope: of the [softmax] layer, in whose graph it is built.

    Raises:
        GraphError: the file of its class tree was not found, or has more classes.
    """
    spec = scope.layer.spec
    assert isinstance(spec, norm.Softmax)
    flat, count = scope.flat(), scope.layer.in_shapes[0].size
    if spec.temperature != 1:
        flat = scope.op("divide", flat, spec.temperature)
    tree = norm.required_tree(scope.layer, scope.network, count)
    if tree:
        return scope.finish(tree_softmax(scope, flat, tree))
    if spec.groups == 1:
        values = scope.softmax(flat)
    else:
        parts = scope.reshape(flat, spec.groups, count // spec.groups)
        values = scope.reshape(scope.softmax(parts), count)
    if spec.keep_classes:
        values = scope.op("take", values, list(spec.keep_classes), axis=-1)
    return scope.finish(values)


def tree_softmax(scope: LayerScope, x: Tensor, tree: Tree) -> Tensor:
    """Compute one softmax for each group of siblings; values after those of the tree stay.

    Args:
        scope: of the layer.
        x: tensor with a value for each class of the tree along the last axis, from index 0 on.
        tree: class tree.
    """
    index, mask, back = tree.group_rows
    rows = scope.op("add", scope.op("take", x, index.astype(np.int32), axis=-1), mask)
    # TensorFlow's softmax takes five axes at most
    rows = scope.reshape(rows, math.prod(x.shape[1:-1]) * index.shape[0], index.shape[1])
    shares = scope.reshape(scope.softmax(rows), *x.shape[1:-1], index.size)
    inside = scope.op("take", shares, back.astype(np.int32), axis=-1)
    if len(back) == x.shape[-1]:
        return inside
    return scope.concat([inside, scope.channels(x, len(back), None)])
