"""yolo, Gaussian_yolo, region, detection, iseg: outputs activated as the C program does."""

import onnx_ir as ir

from darkconv.backends.onnx.graph import LayerScope
from darkconv.backends.onnx.norm import tree_softmax
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.layers import head, norm


def stretch(scope: LayerScope, x: ir.Value, scale: float) -> ir.Value:
    """scale_x_y: widen 0..1 about its middle."""
    return x if scale == 1 else scope.add(scope.multiply(x, scale), -0.5 * (scale - 1))


def anchor_entries(scope: LayerScope, anchors: int) -> ir.Value:
    """(batch, c, h, w) -> (batch, anchors, entries, h, w)."""
    c, h, w = scope.layer.in_shapes[0]
    return scope.reshape(scope.x, 0, anchors, c // anchors, h, w)


@BUILDERS.register(head.Yolo)
def build_yolo(scope: LayerScope) -> ir.Value:
    """Sigmoid on all entries but w and h; x and y stretched."""
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    if spec.new_coords and spec.scale_x_y == 1:
        return scope.x
    entries = anchor_entries(scope, len(spec.mask))
    centre, size, rest = (
        scope.channels(entries, start, end, axis=2)
        for start, end in ((0, 2), (2, 4), (4, spec.anchor_entries))
    )
    if not spec.new_coords:
        centre, rest = scope.op("Sigmoid", centre), scope.op("Sigmoid", rest)
    joined = scope.concat([stretch(scope, centre, spec.scale_x_y), size, rest], axis=2)
    return scope.reshape(joined, 0, *scope.layer.out_shape)


@BUILDERS.register(head.GaussianYolo)
def build_gaussian_yolo(scope: LayerScope) -> ir.Value:
    """Sigmoid on all entries but the means of w and h; means of x and y stretched."""
    spec = scope.layer.spec
    assert isinstance(spec, head.GaussianYolo)
    entries = anchor_entries(scope, len(spec.mask))
    parts = []
    for start in range(8):
        part = scope.channels(entries, start, start + 1, axis=2)
        if start not in (4, 6):
            part = scope.op("Sigmoid", part)
        parts.append(stretch(scope, part, spec.scale_x_y) if start in (0, 2) else part)
    rest = scope.channels(entries, 8, spec.anchor_entries, axis=2)
    joined = scope.concat([*parts, scope.op("Sigmoid", rest)], axis=2)
    return scope.reshape(joined, 0, *scope.layer.out_shape)


@BUILDERS.register(head.Region)
def build_region(scope: LayerScope) -> ir.Value:
    """YOLOv2 head; see `darkconv.layers.head.Region` for the dialects."""
    spec = scope.layer.spec
    assert isinstance(spec, head.Region)
    entries = anchor_entries(scope, spec.num)
    coords = spec.coords
    known = scope.channels(entries, coords, coords + 1, axis=2)
    classes = scope.channels(entries, coords + 1, spec.anchor_entries, axis=2)
    if spec.dialect.region_is_cell_major:
        box = scope.channels(entries, 0, coords, axis=2)
        parts = [box, scope.op("Sigmoid", known), class_scores(scope, spec, classes, raw=True)]
        cells = scope.op("Transpose", entries_left(scope, spec, parts), perm=[0, 3, 4, 1, 2])
        return scope.reshape(cells, 0, *scope.layer.out_shape)
    centre = scope.op("Sigmoid", scope.channels(entries, 0, 2, axis=2))
    parts = [centre, scope.channels(entries, 2, coords, axis=2)]
    if spec.background and spec.softmax and not spec.tree:
        both = scope.channels(entries, coords, spec.anchor_entries, axis=2)
        parts.append(scope.op("Softmax", both, axis=2))
    else:
        parts.append(known if spec.background else scope.op("Sigmoid", known))
        parts.append(class_scores(scope, spec, classes, raw=False))
    return scope.reshape(entries_left(scope, spec, parts), 0, *scope.layer.out_shape)


def entries_left(scope: LayerScope, spec: head.Region, parts: list[ir.Value]) -> ir.Value:
    """(N, anchors, entries, H, W), classes that are not wanted taken out."""
    entries = scope.concat(parts, axis=2)
    if not spec.keep_classes:
        return entries
    return scope.op("Gather", entries, scope.ints(*spec.kept_entries), axis=2)


def class_scores(scope: LayerScope, spec: head.Region, classes: ir.Value, *, raw: bool) -> ir.Value:
    """Softmax per tree group, softmax, or what the dialect does without either."""
    tree = norm.required_tree(scope.layer, scope.network, spec.classes)
    if tree:
        _, h, w = scope.layer.out_shape
        return tree_softmax(scope, classes, tree, before=(spec.num,), after=(h, w))
    if spec.softmax:
        return scope.op("Softmax", classes, axis=2)
    return classes if raw else scope.op("Sigmoid", classes)


@BUILDERS.register(head.Detection)
def build_detection(scope: LayerScope) -> ir.Value:
    """Values as they are, or a softmax over the classes of each cell."""
    spec = scope.layer.spec
    assert isinstance(spec, head.Detection)
    flat = scope.flatten(scope.x)
    if not spec.softmax:
        return flat
    count = spec.cells * spec.classes
    cells = scope.reshape(scope.channels(flat, 0, count), 0, spec.cells, spec.classes)
    scores = scope.flatten(scope.op("Softmax", cells, axis=2))
    return scope.concat([scores, scope.channels(flat, count, scope.layer.out_shape.size)])


@BUILDERS.register(head.Iseg)
def build_iseg(scope: LayerScope) -> ir.Value:
    """Sigmoid on the class channels."""
    spec = scope.layer.spec
    assert isinstance(spec, head.Iseg)
    classes = scope.op("Sigmoid", scope.channels(scope.x, 0, spec.classes))
    if not spec.ids:
        return classes
    return scope.concat([classes, scope.channels(scope.x, spec.classes, scope.layer.out_shape.c)])
