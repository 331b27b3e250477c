"""What a reader of an ONNX file needs beside the graph, as text under plain keys."""

import json

from darkconv import __version__
from darkconv.backends.onnx.heads import PLAIN_KINDS
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.core.network import Network
from darkconv.darknet.cfg import format_cfg
from darkconv.darknet.description import describe_names, describe_trees
from darkconv.encodings import as_plain
from darkconv.layers.head import AnchorHead, nms_settings


def file_metadata(built: NetworkGraph) -> dict[str, str]:
    """Everything but `digests`: see the functions below, and docs/onnx.md for the keys."""
    model, network, options = built.model, built.model.network, built.graph.options
    states = {name: value.name for name, value in built.graph.states.items()}
    return {
        "darkconv": __version__,
        "dialect": network.dialect.name,
        "cfg": as_plain(format_cfg(network.config)),
        **describe_names(model.names),
        "input": options.input,
        "input_size": json.dumps([network.input_shape.w, network.input_shape.h]),
        "resize": network.options.resize_mode(options.resize),
        "precision": "float16" if options.fp16 else "float32",
        "head": options.head,
        "boxes": "pixels" if options.pixels else "relative",
        "anchors": json.dumps(anchors_by_head(network)),
        "states": json.dumps(states),
        **suppression(built),
        **describe_trees(network),
    }


def anchors_by_head(network: Network) -> dict[str, list[list[float]]]:
    """Width and height of each anchor, in the cfg's unit, by the head's name."""
    return {
        layer.label: layer.spec.head_anchors.tolist()
        for layer in network.heads
        if isinstance(layer.spec, AnchorHead) and not getattr(layer.spec, "unlisted_masks", ())
    }


def suppression(built: NetworkGraph) -> dict[str, str]:
    """Thresholds; the kind that the cfg asks for, and what of it is in the graph."""
    options, network = built.graph.options, built.model.network
    heads = network.box_heads
    if not heads:
        return {}
    kind, beta = nms_settings(heads[-1].spec)
    return {
        "threshold": repr(options.threshold),
        "nms": repr(options.nms),
        "nms_kind": kind,
        "beta_nms": repr(beta),
        "nms_in_graph": graph_kind(options.head, kind),
    }


def graph_kind(head: str, kind: str) -> str:
    """What suppression the graph does, in words where it is not the cfg's."""
    if head != "nms":
        return "none"
    return "sort" if kind in PLAIN_KINDS else f"sort (ONNX cannot say {kind}: darkconv detect can)"
