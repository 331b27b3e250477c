"""A network as an ONNX model."""

import json

import onnx_ir as ir

from darkconv import __version__
from darkconv.backends.onnx.graph import (
    IR_VERSION,
    OPSET,
    GraphBuilder,
    LayerScope,
    axes,
    layer_arrays,
    layer_name,
)
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT
from darkconv.core.shape import Shape
from darkconv.darknet.cfg import format_cfg

INPUT = "input"


def build_model(model: Model, *, outputs: tuple[int, ...], opset: int = OPSET) -> ir.Model:
    """Build the graph of a model, node by node.

    Args:
        model: what to build.
        outputs: layers whose values the graph gives, each under its layer's name.
        opset: version of the standard operators, 11 or later.

    Raises:
        UnsupportedError: a layer that is not expressed in ONNX.
    """
    network = model.network
    graph = GraphBuilder(opset)
    source = _value(INPUT, network.input_shape)
    values = {NETWORK_INPUT: source}
    for layer in network.layers[: max(outputs) + 1]:
        inputs = [values[index] for index in layer.sources]
        arrays = layer_arrays(model, layer)
        scope = LayerScope(graph, layer, network, arrays, inputs, source)
        out = BUILDERS[layer](scope)
        if layer.index in outputs:
            out = _named(scope, out)
        values[layer.index] = out
    results = [values[index] for index in outputs]
    main = ir.Graph(
        [source],
        results,
        nodes=graph.nodes,
        initializers=list(graph.initializers.values()),
        opset_imports={"": opset},
        name=network.file.rsplit("/", 1)[-1],
    )
    return ir.Model(
        main,
        ir_version=IR_VERSION,
        producer_name="darkconv",
        producer_version=__version__,
        metadata_props=_metadata(model),
    )


def _value(name: str, shape: Shape) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(axes(shape)), type=ir.TensorType(ir.DataType.FLOAT))


def _named(scope: LayerScope, out: ir.Value) -> ir.Value:
    """The value under its layer's name and shape; a copy where it is another layer's too."""
    name = layer_name(scope.layer)
    if out.producer() is None or not str(out.name).startswith(f"{name}/"):
        out = scope.op("Identity", out)
    out.name = name
    out.shape = ir.Shape(axes(scope.layer.out_shape))
    out.type = ir.TensorType(ir.DataType.FLOAT)
    return out


def _metadata(model: Model) -> dict[str, str]:
    """What a reader of the file needs to know beside the graph."""
    network = model.network
    return {
        "darkconv": __version__,
        "dialect": network.dialect.name,
        "names": json.dumps(list(model.names)),
        "cfg": format_cfg(network.config).encode("utf-8", "replace").decode(),
        "resize": "letterbox" if network.options.letterboxes else "stretch",
    }
