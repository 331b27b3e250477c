"""Builders of yolo, Gaussian_yolo, region, detection and iseg heads, activated as in C."""

from collections.abc import Sequence
from typing import NamedTuple

import onnx_ir as ir

from darkconv.backends.onnx.norm import softmax, tree_softmax
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import head, norm


class EntryRange(NamedTuple):
    """Consecutive entries of an anchor that are activated in the same way.

    Attributes:
        start: first entry, from 0.
        end: entry after the last one.
        is_raw: True if no sigmoid is applied.
        is_stretched: True if `scale_x_y` is applied.
    """

    start: int
    end: int
    is_raw: bool = False
    is_stretched: bool = False


@BUILDERS.register(head.Yolo)
def build_yolo(scope: LayerScope) -> ir.Value:
    """Build a yolo head: sigmoid on all entries but w and h, and `scale_x_y` on x and y.

    In the dialect yolor the sigmoid is applied to w and h, too.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    if not spec.squashes and spec.scale_x_y == 1:
        return scope.x
    return joined(scope, activated(scope, spec, yolo_runs(spec)))


def yolo_runs(spec: head.Yolo) -> list[EntryRange]:
    """Return the entries of an anchor in three runs: centre, size, and the rest.

    Args:
        spec: spec of the head.
    """
    return [
        EntryRange(0, 2, not spec.squashes, is_stretched=True),
        EntryRange(2, 4, not spec.squashes_sizes),
        EntryRange(4, spec.anchor_entries, not spec.squashes),
    ]


@BUILDERS.register(head.GaussianYolo)
def build_gaussian_yolo(scope: LayerScope) -> ir.Value:
    """Build a Gaussian_yolo head: sigmoid on all entries but the means of w and h.

    The means of x and y are stretched by `scale_x_y`.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.GaussianYolo)
    coordinates = [EntryRange(i, i + 1, i in (4, 6), i in (0, 2)) for i in range(8)]
    return joined(scope, activated(scope, spec, [*coordinates, EntryRange(8, spec.anchor_entries)]))


def activated(scope: LayerScope, spec: head.YoloHead, runs: Sequence[EntryRange]) -> list[ir.Value]:
    """Return the activated entries of each run, (N, anchors, entries of the run, cells).

    Args:
        scope: scope of the head.
        spec: spec of the head.
        runs: runs of entries; they need not cover all of them.
    """
    entries = scope.reshape(scope.x, 0, len(spec.mask), spec.anchor_entries, scope.cells)
    parts = []
    for run in runs:
        part = scope.channels(entries, run.start, run.end, axis=2)
        if not run.is_raw:
            part = scope.op("Sigmoid", part)
        parts.append(stretch(scope, part, spec.scale_x_y) if run.is_stretched else part)
    return parts


def joined(scope: LayerScope, parts: Sequence[ir.Value]) -> ir.Value:
    """Return the output of a head, (N, C, H, W), from its activated entries.

    Args:
        scope: scope of the head.
        parts: runs of entries in order, (N, anchors, entries of the run, cells).
    """
    return scope.reshape(scope.concat(parts, axis=2), 0, scope.layer.out_shape.c, *scope.size)


def stretch(scope: LayerScope, x: ir.Value, scale: float) -> ir.Value:
    """Return values with the range 0..1 widened about its middle, as `scale_x_y` demands.

    Args:
        scope: scope of the head.
        x: values in 0..1.
        scale: factor; 1 leaves the values as they are.
    """
    return x if scale == 1 else scope.add(scope.multiply(x, scale), -0.5 * (scale - 1))


@BUILDERS.register(head.Region)
def build_region(scope: LayerScope) -> ir.Value:
    """Build a region head of YOLOv2; `darkconv.layers.head.Region` describes the dialects.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Region)
    entries = scope.reshape(scope.x, 0, spec.num, spec.anchor_entries, scope.cells)
    parts = [*box_parts(scope, spec, entries), *class_parts(scope, spec, entries)]
    values = entries_left(scope, spec, parts)
    if spec.dialect.region_is_cell_major:
        values = scope.transpose(values, 0, 3, 1, 2)
    return scope.reshape(values, 0, scope.layer.out_shape.c, *scope.size)


def box_parts(scope: LayerScope, spec: head.Region, entries: ir.Value) -> list[ir.Value]:
    """Return the coordinates of each anchor; in dialect pjreddie with a sigmoid on x and y.

    Args:
        scope: scope of the head.
        spec: spec of the head.
        entries: (N, anchors, entries, cells).
    """
    if spec.dialect.region_is_cell_major:
        return [scope.channels(entries, 0, spec.coords, axis=2)]
    centre = scope.op("Sigmoid", scope.channels(entries, 0, 2, axis=2))
    return [centre, scope.channels(entries, 2, spec.coords, axis=2)]


def class_parts(scope: LayerScope, spec: head.Region, entries: ir.Value) -> list[ir.Value]:
    """Return activated objectness and class scores of each anchor.

    Args:
        scope: scope of the head.
        spec: spec of the head.
        entries: (N, anchors, entries, cells).
    """
    known = scope.channels(entries, spec.coords, spec.coords + 1, axis=2)
    if not spec.background:
        known = scope.op("Sigmoid", known)
    elif spec.softmax and not spec.tree:
        both = scope.channels(entries, spec.coords, spec.anchor_entries, axis=2)
        return [softmax(scope, both, 2)]
    classes = scope.channels(entries, spec.box_entries, spec.anchor_entries, axis=2)
    return [known, class_scores(scope, spec, classes)]


def entries_left(scope: LayerScope, spec: head.Region, parts: list[ir.Value]) -> ir.Value:
    """Return all activated entries, (N, anchors, entries, cells), without the dropped classes.

    Args:
        scope: scope of the head.
        spec: spec of the head; `keep_classes` names the classes to keep, all where it is empty.
        parts: activated entries in order.
    """
    entries = scope.concat(parts, axis=2)
    if not spec.keep_classes:
        return entries
    return scope.op("Gather", entries, scope.ints(*spec.kept_entries), axis=2)


def class_scores(scope: LayerScope, spec: head.Region, classes: ir.Value) -> ir.Value:
    """Return class scores after the softmax of each tree group, one softmax, or the dialect's rule.

    Args:
        scope: scope of the head.
        spec: spec of the head.
        classes: (N, anchors, classes, cells), before activation.
    """
    tree = norm.required_tree(scope.layer, scope.network, spec.classes)
    if tree:
        return tree_softmax(scope, classes, tree, spec.classes, axis=2)
    if spec.softmax:
        return softmax(scope, classes, 2)
    return classes if spec.dialect.region_is_cell_major else scope.op("Sigmoid", classes)


@BUILDERS.register(head.Detection)
def build_detection(scope: LayerScope) -> ir.Value:
    """Build a detection head: the values as they are, or a softmax over the classes of each cell.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Detection)
    flat = scope.flatten(scope.x)
    if not spec.has_softmax:
        return flat
    count = spec.cells * spec.classes
    cells = scope.reshape(scope.channels(flat, 0, count), 0, spec.cells, spec.classes)
    scores = scope.flatten(softmax(scope, cells, 2))
    return scope.concat([scores, scope.channels(flat, count, scope.layer.out_shape.size)])


@BUILDERS.register(head.Iseg)
def build_iseg(scope: LayerScope) -> ir.Value:
    """Build an iseg head: a sigmoid on the class channels.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Iseg)
    classes = scope.op("Sigmoid", scope.channels(scope.x, 0, spec.classes))
    if not spec.ids:
        return classes
    return scope.concat([classes, scope.channels(scope.x, spec.classes, scope.layer.out_shape.c)])
