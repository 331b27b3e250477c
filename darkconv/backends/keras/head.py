"""Builders of the heads yolo, Gaussian_yolo, region, detection and iseg, activated as in C."""

from collections.abc import Sequence

from darkconv.backends.keras.norm import tree_softmax
from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.tree import Tree
from darkconv.layers import head, norm


def apart(scope: LayerScope, x: Tensor, anchors: int) -> Tensor:
    """Split the channels into anchors and entries: (N, H, W, anchors, entries).

    Args:
        scope: of the head.
        x: feature map (N, H, W, anchors * entries).
        anchors: number of anchors.
    """
    _, rows, columns, channels = x.shape
    return scope.reshape(x, rows, columns, anchors, channels // anchors)


def joined(scope: LayerScope, parts: Sequence[Tensor]) -> Tensor:
    """Join the entries of each anchor, and return them as the value of the layer.

    Args:
        scope: of the head.
        parts: entries in order, each (N, H, W, anchors, k).
    """
    entries = scope.concat(list(parts))
    _, rows, columns, anchors, count = entries.shape
    return scope.finish(scope.reshape(entries, rows, columns, anchors * count))


def stretch(scope: LayerScope, x: Tensor, scale: float) -> Tensor:
    """Apply scale_x_y: widen the interval 0..1 about its middle.

    Args:
        scope: of the head.
        x: tensor of any shape, with values in 0..1.
        scale: factor, 1 for none.
    """
    if scale == 1:
        return x
    return scope.op("subtract", scope.op("multiply", x, scale), 0.5 * (scale - 1))


@BUILDERS.register(head.Yolo)
def build_yolo(scope: LayerScope) -> Tensor:
    """Build a YOLOv3 head.

    It is a sigmoid on all entries but w and h, in yolor on these too; x and y are stretched.

    Args:
        scope: of the [yolo] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    if not spec.squashes and spec.scale_x_y == 1:
        return scope.finish(scope.map())
    entries = apart(scope, scope.map(), len(spec.mask))
    centre, size, rest = (scope.channels(entries, a, b) for a, b in ((0, 2), (2, 4), (4, None)))
    if spec.squashes:
        centre, rest = scope.op("sigmoid", centre), scope.op("sigmoid", rest)
        size = scope.op("sigmoid", size) if spec.squashes_sizes else size
    return joined(scope, [stretch(scope, centre, spec.scale_x_y), size, rest])


@BUILDERS.register(head.GaussianYolo)
def build_gaussian_yolo(scope: LayerScope) -> Tensor:
    """Build a Gaussian YOLOv3 head, whose boxes have uncertainties.

    It is a sigmoid on all but the means of w and h; the means of x and y are stretched.

    Args:
        scope: of the [Gaussian_yolo] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.GaussianYolo)
    entries = apart(scope, scope.map(), len(spec.mask))
    squashed = scope.op("sigmoid", entries)
    x, y = (
        stretch(scope, scope.channels(squashed, place, place + 1), spec.scale_x_y)
        for place in (0, 2)
    )
    width, height = (scope.channels(entries, place, place + 1) for place in (4, 6))
    spreads = [scope.channels(squashed, place, place + 1) for place in (1, 3, 5)]
    rest = scope.channels(squashed, 7, None)
    return joined(scope, [x, spreads[0], y, spreads[1], width, spreads[2], height, rest])


@BUILDERS.register(head.Region)
def build_region(scope: LayerScope) -> Tensor:
    """Build a YOLOv2 head.

    `darkconv.layers.head.Region` describes the dialects. The value is (N, H, W, anchors * entries)
    in both: alexeyab's memory holds the same cell by cell, and reports another shape.

    Args:
        scope: of the [region] layer, in whose graph it is built.

    Raises:
        GraphError: the file of its class tree was not found, or has more classes.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Region)
    tree = norm.required_tree(scope.layer, scope.network, spec.classes)
    entries = apart(scope, scope.map(), spec.num)
    coords = scope.channels(entries, 0, spec.coords)
    known = scope.channels(entries, spec.coords, spec.coords + 1)
    classes = scope.channels(entries, spec.coords + 1, None)
    if spec.dialect.region_is_cell_major:
        scores = class_scores(scope, spec, classes, tree)
        return joined(scope, [coords, scope.op("sigmoid", known), left(scope, spec, scores)])
    centre = scope.op("sigmoid", scope.channels(coords, 0, 2))
    box = [centre, scope.channels(coords, 2, None)]
    if spec.background and spec.softmax and not tree:
        both = scope.softmax(scope.channels(entries, spec.coords, None))
        known, classes = scope.channels(both, 0, 1), scope.channels(both, 1, None)
        return joined(scope, [*box, known, left(scope, spec, classes)])
    known = known if spec.background else scope.op("sigmoid", known)
    if not (spec.softmax or tree):
        classes = scope.op("sigmoid", classes)
    scores = class_scores(scope, spec, classes, tree)
    return joined(scope, [*box, known, left(scope, spec, scores)])


def class_scores(
    scope: LayerScope, spec: head.Region, classes: Tensor, tree: Tree | None
) -> Tensor:
    """Apply the softmax over the classes, or over groups of them, if the cfg asks for one.

    Args:
        scope: of the head.
        spec: options of the [region] layer.
        classes: (N, H, W, anchors, classes).
        tree: class tree, whose groups have a softmax each; None for no tree.
    """
    if tree:
        return tree_softmax(scope, classes, tree)
    return scope.softmax(classes) if spec.softmax else classes


def left(scope: LayerScope, spec: head.Region, scores: Tensor) -> Tensor:
    """Select the classes that `keep_classes` keeps.

    Args:
        scope: of the head.
        spec: options of the [region] layer.
        scores: (N, H, W, anchors, classes).
    """
    keep = list(spec.keep_classes)
    return scope.op("take", scores, keep, axis=-1) if keep else scores


@BUILDERS.register(head.Detection)
def build_detection(scope: LayerScope) -> Tensor:
    """Build a YOLOv1 head.

    The values (N, values) stay as they are, or get a softmax over the classes of each cell.

    Args:
        scope: of the [detection] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Detection)
    flat = scope.flat()
    if not spec.has_softmax:
        return scope.finish(flat)
    count = spec.cells * spec.classes
    cells = scope.reshape(scope.channels(flat, 0, count), spec.cells, spec.classes)
    scores = scope.reshape(scope.softmax(cells), count)
    return scope.finish(scope.concat([scores, scope.channels(flat, count, None)]))


@BUILDERS.register(head.Iseg)
def build_iseg(scope: LayerScope) -> Tensor:
    """Build an instance segmentation head.

    It is a sigmoid on the class channels.

    Args:
        scope: of the [iseg] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Iseg)
    x = scope.map()
    known = scope.op("sigmoid", scope.channels(x, 0, spec.classes))
    if not spec.ids:
        return scope.finish(known)
    return scope.finish(scope.concat([known, scope.channels(x, spec.classes, None)]))
