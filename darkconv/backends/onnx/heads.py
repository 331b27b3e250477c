"""The outputs of the graph: as the network gives them, as boxes, or after suppression."""

import logging

import onnx_ir as ir

from darkconv.backends.onnx.alike_boxes import are_alike, decoded_alike
from darkconv.backends.onnx.boxes import corners, decoded, takes_input
from darkconv.backends.onnx.graph import Dims, describe
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.backends.onnx.nms import suppressed
from darkconv.backends.onnx.scope import Scope
from darkconv.core.network import Network
from darkconv.errors import DarkconvError
from darkconv.layers.box_heads import (
    BOXES,
    CONFIDENCES,
    SCORES,
    box_heads,
    count_boxes,
    count_classes,
)
from darkconv.layers.head import nms_settings
from darkconv.layers.norm import Softmax

logger = logging.getLogger("darkconv")

PLAIN_KINDS = ("sort", "cornersnms")
"""Kinds that suppress by overlap alone, class by class."""


def build_outputs(built: NetworkGraph) -> list[ir.Value]:
    """Append what the chosen kind of head needs, and return the outputs of the graph.

    Raises:
        DarkconvError: the network has no head of that kind.
        UnsupportedError: a layer that is not expressed in ONNX with these options.
    """
    network, kind = built.model.network, built.graph.options.head
    if kind == "raw":
        built.build(network.outputs)
        return [built.output(index) for index in network.outputs]
    if kind == "logits":
        return build_logits(built)
    if not box_heads(network):
        return [build_probabilities(built)]
    boxes, scores, confidences = build_boxes(built)
    if kind == "nms":
        return build_detections(built, boxes, scores)
    return name_boxes(built, boxes, scores, confidences)


def build_logits(built: NetworkGraph) -> list[ir.Value]:
    """What enters each head, before any activation."""
    network = built.model.network
    if not network.heads:
        raise DarkconvError(
            f"{network.file}: has no head, whose inputs head=logits is about",
            hint="its outputs as they are: head=raw",
        )
    built.build([layer.sources[0] for layer in network.heads])
    return [built.head_input(layer) for layer in network.heads]


def build_probabilities(built: NetworkGraph) -> ir.Value:
    """Of a classifier."""
    network, kind = built.model.network, built.graph.options.head
    heads = network.heads
    if kind == "nms" or len(heads) != 1 or not isinstance(heads[0].spec, Softmax):
        raise DarkconvError(
            f"{network.file}: predicts no boxes, which head={kind} is about",
            expected="a [yolo], [Gaussian_yolo], [region] or [detection] layer",
            found=", ".join(f"[{layer.type}]" for layer in heads) or "no head",
            hint="its outputs as they are: head=raw",
        )
    built.build([heads[0].index])
    value = built.values[heads[0].index]
    return _named(built, value, "probabilities", [heads[0].out_shape.size])


def build_boxes(built: NetworkGraph) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """Boxes, scores and confidences of all heads, laid end to end: see `Found`."""
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
    return corners(scopes[-1], centres, sizes), scores, confidences


def name_boxes(
    built: NetworkGraph, boxes: ir.Value, scores: ir.Value, confidences: ir.Value | None
) -> list[ir.Value]:
    """Return them as outputs of the graph."""
    classes = count_classes(box_heads(built.model.network)[0])
    count = total_boxes(built) or "boxes"
    outputs = [_named(built, boxes, BOXES, [count, 4])]
    for name, value in ((SCORES, scores), (CONFIDENCES, confidences)):
        if value is not None:
            outputs.append(_named(built, value, name, [count, classes]))
    return outputs


def total_boxes(built: NetworkGraph) -> int | None:
    """Boxes of all heads, None where the size of pictures is free."""
    if built.graph.options.has_free_size:
        return None
    return sum(map(count_boxes, box_heads(built.model.network)))


def build_detections(built: NetworkGraph, boxes: ir.Value, scores: ir.Value) -> list[ir.Value]:
    """What plain suppression leaves, padded."""
    network, graph = built.model.network, built.graph
    warn_of_other_kind(network)
    classes = count_classes(box_heads(network)[0])
    found = suppressed(
        Scope(graph, "nms"), boxes, scores, count=total_boxes(built), classes=classes
    )
    most = graph.options.max_detections
    return [
        _named(built, value, name, dims, kind)
        for value, name, dims, kind in zip(
            found,
            ("boxes", "scores", "classes", "count"),
            ([most, 4], [most], [most], []),
            (ir.DataType.FLOAT, ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.INT32),
            strict=True,
        )
    ]


def warn_of_other_kind(network: Network) -> None:
    """Say that the cfg asks for suppression which the graph does not do."""
    kind, _ = nms_settings(box_heads(network)[-1].spec)
    if kind not in PLAIN_KINDS:
        logger.warning(
            "%s: asks for nms_kind=%s, which ONNX has no operator for: plain suppression is in "
            "the graph; with head=boxes `darkconv detect` does what the cfg asks for",
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
    """The value under the name of an output, or a copy where a layer's name would be lost."""
    if value.name in {scope.name for scope in built.scopes.values()} or not value.producer():
        value = Scope(built.graph, name).op("Identity", value)
    value.name = name
    return describe(value, [built.graph.batch, *dims], kind)
