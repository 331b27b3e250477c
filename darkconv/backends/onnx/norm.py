"""Builders of batchnorm, normalization, l2norm, activation, softmax and logistic layers."""

import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.folding import has_unfolded_norm, scaled_and_shifted, unfolded_norm
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.core.tree import Tree
from darkconv.layers import norm

SOFTMAX_OF_ONE_AXIS = 13


@BUILDERS.register(norm.Batchnorm)
def build_batchnorm(scope: LayerScope) -> ir.Value:
    """Build a batch norm as one factor and one summand for each channel, or as its own operator.

    Args:
        scope: scope of the layer.
    """
    if has_unfolded_norm(scope):
        return unfolded_norm(scope, scope.x)
    return scaled_and_shifted(scope, scope.x)


@BUILDERS.register(norm.Normalization)
def build_normalization(scope: LayerScope) -> ir.Value:
    """Build a local response normalization, which lacks the same term as in the C program.

    Args:
        scope: scope of the layer.
    """
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
    """Build a division of each pixel by the length of its channel vector.

    Args:
        scope: scope of the layer.
    """
    total = scope.reduce("ReduceSum", scope.op("Mul", scope.x, scope.x), 1)
    return scope.op("Div", scope.x, scope.op("Sqrt", total))


@BUILDERS.register(norm.Activation)
def build_activation(scope: LayerScope) -> ir.Value:
    """Build an activation function.

    Args:
        scope: scope of the layer.
    """
    assert isinstance(scope.layer.spec, norm.Activation)
    return activate(scope, scope.x, scope.layer.spec.activation)


@BUILDERS.register(norm.Logistic)
def build_logistic(scope: LayerScope) -> ir.Value:
    """Build a sigmoid.

    Args:
        scope: scope of the layer.
    """
    return scope.op("Sigmoid", scope.x)


@BUILDERS.register(norm.Softmax)
def build_softmax(scope: LayerScope) -> ir.Value:
    """Build a softmax over groups of the flattened input, or over the groups of a class tree.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, norm.Softmax)
    flat = scope.flatten(scope.x)
    if spec.temperature != 1:
        flat = scope.op("Div", flat, scope.floats(spec.temperature))
    tree = norm.required_tree(scope.layer, scope.network, scope.layer.in_shapes[0].size)
    if tree:
        return tree_softmax(scope, flat, tree, scope.layer.in_shapes[0].size, axis=1)
    if spec.groups == 1:
        values = softmax(scope, flat, 1)
    else:
        parts = scope.reshape(flat, 0, spec.groups, -1)
        values = scope.flatten(softmax(scope, parts, 2))
    if not spec.keep_classes:
        return values
    return scope.op("Gather", values, scope.ints(*spec.keep_classes), axis=1)


def softmax(scope: LayerScope, x: ir.Value, axis: int) -> ir.Value:
    """Return the softmax along one axis, in every opset.

    Before opset 13 the operator also took in all axes after the given one.

    Args:
        scope: scope of the layer.
        x: value of any shape.
        axis: axis of the classes.
    """
    if scope.graph.opset >= SOFTMAX_OF_ONE_AXIS:
        return scope.op("Softmax", x, axis=axis)
    powers = scope.op("Exp", scope.op("Sub", x, scope.reduce("ReduceMax", x, axis)))
    return scope.op("Div", powers, scope.reduce("ReduceSum", powers, axis))


def tree_softmax(scope: LayerScope, x: ir.Value, tree: Tree, classes: int, axis: int) -> ir.Value:
    """Return one softmax for each group of siblings of a tree; values after the tree are kept.

    The groups are gathered into rows of equal length, so that one Softmax computes them all.

    Args:
        scope: scope of the layer.
        x: (batch, ..., classes, ...).
        tree: class tree with the groups.
        classes: length of the axis of the classes.
        axis: axis of the classes; at most one axis follows it.
    """
    index, mask, back = tree.group_rows
    lead = (0,) * axis
    rows = scope.op("Gather", x, scope.constant(index, "groups"), axis=axis)
    if axis > 1:  # (batch, anchors, classes, cells)
        mask = mask[..., None]
    shares = softmax(scope, scope.add(rows, mask), axis + 1)
    shares = scope.reshape(shares, *lead, index.size, *(-1,) * (axis > 1))
    inside = scope.op("Gather", shares, scope.constant(back, "places"), axis=axis)
    if len(back) == classes:
        return inside
    return scope.concat([inside, scope.channels(x, len(back), classes, axis)], axis)
