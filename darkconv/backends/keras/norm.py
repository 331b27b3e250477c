"""batchnorm, normalization, l2norm, activation, softmax, logistic."""

import math

import numpy as np
from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.places import Place, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.layers import norm
from darkconv.layers.folding import told_overflow

MOMENTUM = 0.99  # share of the old running statistics that C keeps
NORM_VARIABLES = {
    "biases": "beta",
    "scales": "gamma",
    "rolling_mean": "moving_mean",
    "rolling_variance": "moving_variance",
}


def norm_places(part: str) -> dict[str, Place]:
    """Where the arrays of a batch norm lie."""
    return {slot: Place(part, variable) for slot, variable in NORM_VARIABLES.items()}


def normalize(scope: LayerScope, x: Tensor, part: str = "bn") -> Tensor:
    """Batch norm with the dialect's divisor, over the last axis."""
    return scope.learn(
        layers.BatchNormalization,
        corrected(scope, x),
        part=part,
        momentum=MOMENTUM,
        epsilon=scope.layer.spec.dialect.batch_epsilon,
        center="biases" in scope.arrays,
    )


def corrected(scope: LayerScope, x: Tensor) -> Tensor:
    """X such that sqrt(variance + batch_epsilon) divides it as the dialect's divisor would.

    pjreddie's sqrt(variance) + 1e-6 is no epsilon: mean + (x - mean) * c has the same quotient,
    c being one divisor over the other. Standing before the batch norm, it leaves the stored
    arrays and their meaning alone.
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
    """The Keras layer itself."""
    return normalize(scope, scope.map(), part="")


@PLACES.register(norm.Batchnorm)
def batchnorm_places(layer: Layer, _: Network) -> PlaceTable:
    """The batch norm is the main layer; pjreddie's has no biases."""
    return {slot.name: norm_places("")[slot.name] for slot in layer.slots}


@BUILDERS.register(norm.Normalization)
def build_normalization(scope: LayerScope) -> Tensor:
    """Local response normalisation with C's missing term."""
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
    """Each pixel divided by the length of its channel vector."""
    x = scope.map()
    total = scope.op("sum", scope.op("square", x), axis=-1, keepdims=True)
    return scope.finish(scope.op("divide", x, scope.op("sqrt", total)))


@BUILDERS.register(norm.Activation)
def build_activation(scope: LayerScope) -> Tensor:
    """The function by itself."""
    assert isinstance(scope.layer.spec, norm.Activation)
    return scope.finish(activate(scope, scope.x, scope.layer.spec.activation))


@BUILDERS.register(norm.Logistic)
def build_logistic(scope: LayerScope) -> Tensor:
    """Sigmoid."""
    return scope.add(layers.Activation, "", scope.x, activation="sigmoid")


@BUILDERS.register(norm.Softmax)
def build_softmax(scope: LayerScope) -> Tensor:
    """Over groups of the flattened input, or over the groups of a tree."""
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
    """One softmax per group of siblings along the last axis; values behind the tree stay."""
    index, mask, back = tree.group_rows
    rows = scope.op("add", scope.op("take", x, index.astype(np.int32), axis=-1), mask)
    # TensorFlow's softmax takes five axes at most
    rows = scope.reshape(rows, math.prod(x.shape[1:-1]) * index.shape[0], index.shape[1])
    shares = scope.reshape(scope.softmax(rows), *x.shape[1:-1], index.size)
    inside = scope.op("take", shares, back.astype(np.int32), axis=-1)
    if len(back) == x.shape[-1]:
        return inside
    return scope.concat([inside, scope.channels(x, len(back), None)])
