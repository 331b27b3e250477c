"""batchnorm, normalization, l2norm, activation, softmax, logistic."""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.conv import per_channel
from darkconv.backends.onnx.graph import LayerScope
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.core.model import Array
from darkconv.core.tree import Tree
from darkconv.layers import norm
from darkconv.layers.folding import norm_factor, norm_summand

Integers = npt.NDArray[np.int64]

NEVER = -1e30  # a logit whose softmax is zero


@BUILDERS.register(norm.Batchnorm)
def build_batchnorm(scope: LayerScope) -> ir.Value:
    """One factor and one summand per channel."""
    factor = norm_factor(scope.layer.spec.dialect, scope.arrays)
    summand = norm_summand(factor, scope.arrays)
    scaled = scope.op("Mul", scope.x, scope.floats(per_channel(factor), "factor"))
    return scope.op("Add", scaled, scope.floats(per_channel(summand), "summand"))


@BUILDERS.register(norm.Normalization)
def build_normalization(scope: LayerScope) -> ir.Value:
    """Local response normalisation with C's missing term."""
    spec = scope.layer.spec
    assert isinstance(spec, norm.Normalization)
    channels, middle = scope.layer.in_shapes[0].c, spec.size // 2
    square = scope.op("Mul", scope.x, scope.x)
    padded = scope.pad(square, [0, (spec.size - 1) // 2, 0, 0], [0, middle, 0, 0])
    window = scope.channels(padded, 0, channels)
    for start in range(1, spec.size):
        window = scope.op("Add", window, scope.channels(padded, start, start + channels))
    window = scope.op("Sub", window, scope.channels(square, middle, middle + 1))
    base = scope.add(scope.multiply(window, spec.alpha), spec.kappa)
    return scope.op("Mul", scope.x, scope.op("Pow", base, scope.floats(-spec.beta)))


@BUILDERS.register(norm.L2norm)
def build_l2norm(scope: LayerScope) -> ir.Value:
    """Each pixel divided by the length of its channel vector."""
    total = scope.reduce("ReduceSum", scope.op("Mul", scope.x, scope.x), 1)
    return scope.op("Div", scope.x, scope.op("Sqrt", total))


@BUILDERS.register(norm.Activation)
def build_activation(scope: LayerScope) -> ir.Value:
    """The function by itself."""
    assert isinstance(scope.layer.spec, norm.Activation)
    return activate(scope, scope.x, scope.layer.spec.activation)


@BUILDERS.register(norm.Logistic)
def build_logistic(scope: LayerScope) -> ir.Value:
    """Sigmoid."""
    return scope.op("Sigmoid", scope.x)


@BUILDERS.register(norm.Softmax)
def build_softmax(scope: LayerScope) -> ir.Value:
    """Over groups of the flattened input, or over the groups of a tree."""
    spec = scope.layer.spec
    assert isinstance(spec, norm.Softmax)
    flat = scope.flatten(scope.x)
    if spec.temperature != 1:
        flat = scope.op("Div", flat, scope.floats(spec.temperature))
    tree = norm.required_tree(scope.layer, scope.network, scope.layer.in_shapes[0].size)
    if tree:
        return tree_softmax(scope, flat, tree)
    if spec.groups == 1:
        values = scope.op("Softmax", flat, axis=1)
    else:
        parts = scope.reshape(flat, 0, spec.groups, -1)
        values = scope.flatten(scope.op("Softmax", parts, axis=2))
    if not spec.keep_classes:
        return values
    return scope.op("Gather", values, scope.ints(*spec.keep_classes), axis=1)


def tree_softmax(
    scope: LayerScope,
    x: ir.Value,
    tree: Tree,
    *,
    before: tuple[int, ...] = (),
    after: tuple[int, ...] = (),
) -> ir.Value:
    """One softmax per group of siblings; values behind the tree stay.

    Groups are gathered into rows of equal length, so that one Softmax serves all.

    Args:
        scope: of the layer.
        x: (batch, *before, classes, *after).
        tree: the groups.
        before: axes between batch and classes.
        after: axes behind the classes.
    """
    axis = 1 + len(before)
    index, mask, back = group_rows(tree)
    rows = scope.op("Gather", x, scope.graph.constant(index, f"{scope.name}/groups"), axis=axis)
    masked = scope.add(rows, mask.reshape(*mask.shape, *[1] * len(after)))
    shares = scope.op("Softmax", masked, axis=axis + 1)
    shares = scope.reshape(shares, 0, *before, index.size, *after)
    places = scope.graph.constant(back, f"{scope.name}/places")
    return scope.op("Gather", shares, places, axis=axis)


def group_rows(tree: Tree) -> tuple[Integers, Array, Integers]:
    """A table of groups.

    Returns: (groups, widest) class indices, 0 where a group is shorter; the mask to add to
        their logits; for each class its place in the flattened table.
    """
    widest = max(size for _, size in tree.groups)
    index = np.zeros((len(tree.groups), widest), np.int64)
    mask = np.full(index.shape, NEVER, np.float32)
    back = np.empty(len(tree.parents), np.int64)
    for row, (start, size) in enumerate(tree.groups):
        index[row, :size] = np.arange(start, start + size)
        mask[row, :size] = 0
        back[start : start + size] = row * widest + np.arange(size)
    return index, mask, back
