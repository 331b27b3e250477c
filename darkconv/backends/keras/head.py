"""yolo, Gaussian_yolo, region, detection, iseg: outputs activated as the C program does."""

from collections.abc import Sequence

from darkconv.backends.keras.norm import tree_softmax
from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.tree import Tree
from darkconv.layers import head, norm


def apart(scope: LayerScope, x: Tensor, anchors: int) -> Tensor:
    """(N, H, W, anchors * entries) -> (N, H, W, anchors, entries)."""
    _, rows, columns, channels = x.shape
    return scope.reshape(x, rows, columns, anchors, channels // anchors)


def joined(scope: LayerScope, parts: Sequence[Tensor]) -> Tensor:
    """Entries of each anchor, (N, H, W, anchors, k), end to end as the layer's value."""
    entries = scope.concat(list(parts))
    _, rows, columns, anchors, count = entries.shape
    return scope.finish(scope.reshape(entries, rows, columns, anchors * count))


def stretch(scope: LayerScope, x: Tensor, scale: float) -> Tensor:
    """scale_x_y: widen 0..1 about its middle."""
    if scale == 1:
        return x
    return scope.op("subtract", scope.op("multiply", x, scale), 0.5 * (scale - 1))


@BUILDERS.register(head.Yolo)
def build_yolo(scope: LayerScope) -> Tensor:
    """Sigmoid on all entries but w and h, in yolor on these too; x and y stretched."""
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
    """Sigmoid on all entries but the means of w and h; means of x and y stretched."""
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
    """See `darkconv.layers.head.Region` for the dialects.

    The value is (N, H, W, anchors * entries) in both: what alexeyab's memory holds cell by
    cell is that, behind another shape.
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
    """Softmax over the classes, or over groups of them, where the cfg asks for it."""
    if tree:
        return tree_softmax(scope, classes, tree)
    return scope.softmax(classes) if spec.softmax else classes


def left(scope: LayerScope, spec: head.Region, scores: Tensor) -> Tensor:
    """Classes that are not wanted taken out."""
    keep = list(spec.keep_classes)
    return scope.op("take", scores, keep, axis=-1) if keep else scores


@BUILDERS.register(head.Detection)
def build_detection(scope: LayerScope) -> Tensor:
    """Values as they are, or a softmax over the classes of each cell: (N, values)."""
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
    """Sigmoid on the class channels."""
    spec = scope.layer.spec
    assert isinstance(spec, head.Iseg)
    x = scope.map()
    known = scope.op("sigmoid", scope.channels(x, 0, spec.classes))
    if not spec.ids:
        return scope.finish(known)
    return scope.finish(scope.concat([known, scope.channels(x, spec.classes, None)]))
