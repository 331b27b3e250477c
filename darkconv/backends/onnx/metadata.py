"""The metadata of an ONNX file: what a reader needs besides the graph, as text by key."""

import json

import onnx

from darkconv import __version__
from darkconv.backends.onnx.heads import PLAIN_KINDS
from darkconv.backends.onnx.network import NetworkGraph
from darkconv.core.network import Network
from darkconv.darknet.cfg import format_cfg
from darkconv.darknet.description import describe_names, describe_trees
from darkconv.encodings import as_plain
from darkconv.layers.head import AnchorHead, nms_settings

OWN = "darkconv_"
"""Prefix of a key of darkconv where the plain key holds what the readers of a layout expect."""


def file_metadata(built: NetworkGraph) -> dict[str, str]:
    """Return all metadata but those of `digests`; docs/onnx.md describes the keys.

    Args:
        built: complete graph of the network.
    """
    model, network, options = built.model, built.model.network, built.graph.options
    states = {name: value.name for name, value in built.graph.states.items()}
    own = {
        "darkconv": __version__,
        "dialect": network.dialect.name,
        "cfg": as_plain(format_cfg(network.config)),
        **describe_names(model.names),
        "input": options.input,
        "input_size": json.dumps([network.input_shape.w, network.input_shape.h]),
        "resize": network.options.resize_mode(options.resize),
        "precision": "float16" if options.fp16 else "float32",
        "head": options.head,
        "boxes": options.unit,
        **layout(built),
        "anchors": json.dumps(anchors_by_head(network)),
        "states": json.dumps(states),
        **suppression(built),
        **describe_trees(network),
    }
    form = options.form
    theirs = form.facts(network, model.names, options.has_free_size) if form else {}
    return theirs | {f"{OWN}{key}" if key in theirs else key: own[key] for key in own}


def layout(built: NetworkGraph) -> dict[str, str]:
    """Return the layout of the boxes, and the operators that do NMS in the graph.

    Args:
        built: complete graph of the network.

    Returns:
        Text by key; empty where the file gives no boxes.
    """
    options = built.graph.options
    if options.form is None or not built.model.network.finds_boxes:
        return {}
    told = {"layout": options.layout}
    return told | ({"nms_op": options.nms_op} if options.head == "nms" else {})


def read_metadata(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the metadata of a file, by the keys of `file_metadata`.

    Where the plain key holds what the readers of a layout expect, the entry with the prefix `OWN`
    is returned in its place.

    Args:
        proto: model of the file.
    """
    found = {entry.key: entry.value for entry in proto.metadata_props}
    return found | {
        key.removeprefix(OWN): value for key, value in found.items() if key.startswith(OWN)
    }


def anchors_by_head(network: Network) -> dict[str, list[list[float]]]:
    """Return width and height of each anchor, in the cfg's unit, by the head's label.

    Args:
        network: network of the file.
    """
    return {
        layer.label: layer.spec.head_anchors.tolist()
        for layer in network.heads
        if isinstance(layer.spec, AnchorHead) and not getattr(layer.spec, "unlisted_masks", ())
    }


def suppression(built: NetworkGraph) -> dict[str, str]:
    """Return the thresholds, the kind of NMS that the cfg asks for, and the kind in the graph.

    Args:
        built: complete graph of the network.

    Returns:
        Text by key; empty where the network predicts no boxes.
    """
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
    """Return the kind of NMS in the graph, with a note where it is not the cfg's.

    Args:
        head: kind of outputs, such as "nms".
        kind: kind of NMS that the cfg asks for.
    """
    if head != "nms":
        return "none"
    return "sort" if kind in PLAIN_KINDS else f"sort (ONNX cannot say {kind}: darkconv detect can)"
