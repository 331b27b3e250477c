"""The outputs of the graph: as the network gives them, as boxes, or after NMS."""

import logging
from collections.abc import Mapping

import onnx_ir as ir

from darkconv.backends.layouts import (
    BEST,
    CONFIDENCES,
    CORNERS,
    COUNT,
    EACH,
    LABEL,
    ONE,
    SCORES,
    SPLIT,
    VALUES,
    BoxLayout,
    LayoutOutput,
)
from darkconv.backends.onnx.alike_boxes import are_alike, decoded_alike
from darkconv.backends.onnx.boxes import decoded, formed, takes_input
from darkconv.backends.onnx.graph import Dims, describe
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.backends.onnx.nms import suppressed, suppressed_by_tensorrt
from darkconv.backends.onnx.scope import Scope
from darkconv.core.network import Network
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.layers.box_heads import (
    box_heads,
    count_boxes,
    scored_classes,
    suppressed_classes,
)
from darkconv.layers.head import nms_settings
from darkconv.layers.norm import Softmax

logger = logging.getLogger("darkconv")

PLAIN_KINDS = ("sort", "cornersnms")
"""Kinds of NMS that compare the overlap of boxes alone, class by class."""


def build_outputs(built: NetworkGraph) -> list[ir.Value]:
    """Build the outputs of the graph for the chosen kind of head.

    Args:
        built: graph of the network, to which layers and heads are appended.

    Raises:
        DarkconvError: the network has no head of that kind.
        UnsupportedError: a layer that is not expressed in ONNX with these options.
    """
    network, form = built.model.network, built.graph.options.form
    if built.graph.options.head == "raw":
        built.build(network.outputs)
        return [built.output(index) for index in network.outputs]
    if form is None:
        return build_logits(built)
    if not box_heads(network):
        return [build_probabilities(built, form)]
    boxes, scores, confidences = build_boxes(built)
    if form.head == "nms":
        return build_detections(built, form, boxes, scores)
    return lay_out(built, form, boxes, scores, confidences)


def build_logits(built: NetworkGraph) -> list[ir.Value]:
    """Build an output for the input of each head, before any activation.

    Args:
        built: graph of the network, to which layers are appended.

    Raises:
        DarkconvError: the network has no head.
    """
    network = built.model.network
    if not network.heads:
        raise DarkconvError(
            f"{network.file}: has no head, whose inputs head=logits is about",
            hint="its outputs as they are: head=raw",
        )
    built.build([layer.sources[0] for layer in network.heads])
    return [built.head_input(layer) for layer in network.heads]


def build_probabilities(built: NetworkGraph, form: BoxLayout) -> ir.Value:
    """Build the output of a classifier, (N, classes).

    Args:
        built: graph of the network, to which layers are appended.
        form: layout that the user chose.

    Raises:
        DarkconvError: the network is not a classifier, or the layout is one of boxes.
    """
    network, is_plain = built.model.network, form.name == SPLIT
    heads = network.heads
    if (
        form.head == "nms"
        or not is_plain
        or len(heads) != 1
        or not isinstance(heads[0].spec, Softmax)
    ):
        asked = f"head={form.head}" if is_plain else f"layout={form.name}"
        raise DarkconvError(
            f"{network.file}: predicts no boxes, which {asked} is about",
            expected="a [yolo], [Gaussian_yolo], [region] or [detection] layer",
            found=", ".join(f"[{layer.type}]" for layer in heads) or "no head",
            hint="its outputs as they are: head=raw",
        )
    built.build([heads[0].index])
    value = built.values[heads[0].index]
    return _named(built, value, "probabilities", [heads[0].out_shape.size])


def build_boxes(built: NetworkGraph) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """Build boxes, scores and confidences of all heads, concatenated in the order of the heads.

    Args:
        built: graph of the network, to which layers are appended.

    Returns:
        Boxes (N, boxes, 4) in the form and unit of the layout, scores (N, boxes, classes), and
        confidences of the same shape, or None where these are the scores.
    """
    heads = box_heads(built.model.network)
    built.build([layer.sources[0] if takes_input(layer) else layer.index for layer in heads])
    opened = [built.scopes.get(layer.index) or built.open(layer) for layer in heads]
    scopes = [scope.part("boxes") for scope in opened]
    if are_alike(built.model.network, heads) and not any(scope.is_free for scope in scopes):
        return decoded_alike(scopes)
    found = [
        decoded(scope, scope.x if takes_input(layer) else built.values[layer.index])
        for layer, scope in zip(heads, scopes, strict=True)
    ]
    ends = Scope(built.graph, "heads")
    centres, sizes, scores = (
        ends.concat([getattr(one, part) for one in found])
        for part in ("centres", "sizes", "scores")
    )
    confidences = None
    if any(one.confidences for one in found):
        confidences = ends.concat([one.confidences or one.scores for one in found])
    return formed(scopes[-1], centres, sizes), scores, confidences


def lay_out(
    built: NetworkGraph,
    form: BoxLayout,
    boxes: ir.Value,
    scores: ir.Value,
    confidences: ir.Value | None,
) -> list[ir.Value]:
    """Return all boxes as outputs of the graph, in the form of a layout.

    Args:
        built: graph of the network.
        form: layout of the outputs.
        boxes: (N, boxes, 4), in the layout's form and unit.
        scores: (N, boxes, classes).
        confidences: (N, boxes, classes); None where these are the scores.
    """
    scope = Scope(built.graph, form.name)
    parts = {form.box_form: boxes, SCORES: scores}
    if confidences is not None:
        parts[CONFIDENCES] = confidences
    if form.gives_best:
        label = scope.op("ArgMax", scores, axis=2, keepdims=1)
        parts |= {BEST: scope.reduce("ReduceMax", scores, 2), LABEL: label}
    return [
        name_output(built, output, arranged(scope, output, parts), total_boxes(built) or "boxes")
        for output in form.outputs_of(built.model.network)
    ]


def arranged(scope: Scope, output: LayoutOutput, parts: Mapping[str, ir.Value]) -> ir.Value:
    """Return some parts side by side, with the axes of an output.

    Args:
        scope: scope for the nodes.
        output: description of the output.
        parts: values (N, boxes, values) by the name of the part.
    """
    values = [parts[part] for part in output.parts]
    if len(values) > 1:
        values = [
            scope.cast(value, ir.DataType.FLOAT) if part == LABEL else value
            for part, value in zip(output.parts, values, strict=True)
        ]
    value = scope.concat(values, axis=2)
    order = [axis for axis in output.axes if axis != ONE]
    if order == [VALUES, EACH]:
        value = scope.transpose(value, 0, 2, 1)
    for place, axis in enumerate(output.axes, 1):
        if axis == ONE:
            value = scope.unsqueeze(value, place)
    return value


def name_output(
    built: NetworkGraph, output: LayoutOutput, value: ir.Value, count: int | str
) -> ir.Value:
    """Return a value as an output of the graph, with its shape and dtype set.

    Args:
        built: graph of the network.
        output: description of the output.
        value: value with the output's axes.
        count: number of boxes or detections; the name of the length where it is free.
    """
    kind = ir.DataType.INT32 if output.is_whole else ir.DataType.FLOAT
    dims = output.shape(count, scored_classes(built.model.network))
    return _named(built, value, output.name, dims, kind)


def total_boxes(built: NetworkGraph) -> int | None:
    """Return the number of boxes of all heads; None where the size of pictures is free.

    Args:
        built: graph of the network.
    """
    if built.graph.options.has_free_size:
        return None
    return sum(map(count_boxes, box_heads(built.model.network)))


def build_detections(
    built: NetworkGraph, form: BoxLayout, boxes: ir.Value, scores: ir.Value
) -> list[ir.Value]:
    """Build the outputs after NMS, padded, in the form of a layout.

    Args:
        built: graph of the network.
        form: layout of the outputs.
        boxes: corners, (N, boxes, 4).
        scores: (N, boxes, classes).

    Raises:
        UnsupportedError: the C program would ignore some classes in NMS.
    """
    network, options = built.model.network, built.graph.options
    check_suppressed(network)
    warn_of_other_kind(network)
    scope, most = Scope(built.graph, "nms"), options.max_detections
    if options.nms_op == "tensorrt":
        kept = suppressed_by_tensorrt(scope, boxes, scores)
        return [
            name_output(built, output, value, most)
            for output, value in zip(form.outputs, kept, strict=True)
        ]
    found = suppressed(
        scope,
        boxes,
        scores,
        count=total_boxes(built),
        classes=scored_classes(network),
        padding=form.padding,
    )
    parts = dict(zip((CORNERS, BEST, LABEL, COUNT), found, strict=True))
    return [
        name_output(built, output, arranged(scope, output, parts), most) for output in form.outputs
    ]


def check_suppressed(network: Network) -> None:
    """Check that NMS in the graph agrees with the C program, which uses the last head's classes.

    Args:
        network: network with heads that predict boxes.

    Raises:
        UnsupportedError: another head has more classes than the last.
    """
    if suppressed_classes(network) < scored_classes(network):
        raise UnsupportedError(
            "C suppresses by the classes of the last head alone, which ONNX has no operator for",
            where=network.where(network.box_heads[-1].index, "classes"),
            expected=f"{scored_classes(network)}, as the first head has",
            found=suppressed_classes(network),
            hint="with --head boxes (in Python head='boxes') `darkconv detect` does what C does",
        )


def warn_of_other_kind(network: Network) -> None:
    """Log a warning if the cfg asks for a kind of NMS that the graph cannot do.

    Args:
        network: network with heads that predict boxes.
    """
    kind, _ = nms_settings(box_heads(network)[-1].spec)
    if kind not in PLAIN_KINDS:
        logger.warning(
            "%s: asks for nms_kind=%s, which ONNX has no operator for, so the graph has plain "
            "NMS; with --head boxes (in Python head='boxes') `darkconv detect` does the cfg's own",
            network.file,
            kind,
        )


def _named(
    built: NetworkGraph,
    value: ir.Value,
    name: str,
    dims: Dims,
    kind: ir.DataType = ir.DataType.FLOAT,
) -> ir.Value:
    """Return a value under the name of an output, or a copy where a layer would lose its name."""
    if value.name in {scope.name for scope in built.scopes.values()} or not value.producer():
        value = Scope(built.graph, name).op("Identity", value)
    value.name = name
    return describe(value, [built.graph.batch, *dims], kind)
