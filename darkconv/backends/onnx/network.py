"""Building a network as an ONNX graph."""

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from darkconv import __version__
from darkconv.backends.exported import logits_name
from darkconv.backends.onnx.free_size import check_size_may_vary, passes_size_on
from darkconv.backends.onnx.graph import Dims, GraphBuilder, describe
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.picture import INPUT, network_input
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope, Scope
from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.errors import printable
from darkconv.layers.precision import float_layers

SINGLE, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


class NetworkGraph:
    """A network's layers as nodes of a graph.

    Attributes:
        model: model that is built.
        graph: graph that is being built.
        scopes: scopes of the layers that were built, by index.
        values: values of the layers that were built, (batch, ...), by index; -1 is the network
            input.
    """

    def __init__(self, model: Model, options: OnnxOptions) -> None:
        self.model = model
        self.graph = GraphBuilder(options)
        self.scopes: dict[int, LayerScope] = {}
        shape = model.network.input_shape
        self.values = {NETWORK_INPUT: network_input(self.graph, shape)}
        self._single = float_layers(model.network)
        self._kinds = {NETWORK_INPUT: SINGLE}
        self._casts: dict[tuple[int, ir.DataType], ir.Value] = {}
        self._free = {NETWORK_INPUT} if options.has_free_size and shape.is_map else set()

    def build(self, wanted: Iterable[int]) -> None:
        """Append the layers that some layers need, and these layers.

        Args:
            wanted: indices of layers, from 0.

        Raises:
            UnsupportedError: a layer that is not expressed in ONNX with these options.
        """
        for index in self.model.network.needed_layers(wanted):
            self._append(self.model.network.layers[index])

    def _append(self, layer: Layer) -> None:
        scope = self.open(layer)
        self.values[layer.index] = self._named(scope, BUILDERS[layer](scope))

    def open(self, layer: Layer) -> LayerScope:
        """Make the scope of a layer whose sources are built, and return it; no nodes are appended.

        Args:
            layer: layer of the network.

        Returns:
            The scope, with the layer's arrays and inputs.

        Raises:
            UnsupportedError: the layer needs a map of fixed size, and the size is free.
        """
        kind = self._kind(layer)
        is_free = any(source in self._free for source in layer.sources)
        if is_free:
            check_size_may_vary(self.model.network, layer)
        scope = LayerScope(
            self.graph,
            layer,
            self.model.network,
            self.model.layer_arrays(layer),
            [self._value(index, kind) for index in layer.sources],
            self.values[NETWORK_INPUT],
            is_free=is_free,
            kind=kind,
        )
        if is_free and passes_size_on(layer):
            self._free.add(layer.index)
        self.scopes[layer.index], self._kinds[layer.index] = scope, kind
        return scope

    def _kind(self, layer: Layer) -> ir.DataType:
        """Return the float dtype that a layer computes in."""
        return HALF if self.graph.options.fp16 and layer.index not in self._single else SINGLE

    def _value(self, index: int, kind: ir.DataType) -> ir.Value:
        """Return the value of a layer, or the network's input, in a float dtype."""
        if self._kinds[index] == kind:
            return self.values[index]
        if (index, kind) not in self._casts:
            scope = self.scopes.get(index) or Scope(self.graph, INPUT)
            self._casts[index, kind] = scope.cast(self.values[index], kind)
        return self._casts[index, kind]

    def _named(self, scope: LayerScope, value: ir.Value) -> ir.Value:
        """Return a layer's value under the layer's name; another layer's value keeps its own."""
        if value.producer() is not None and str(value.name).startswith(f"{scope.name}/"):
            value.name = scope.name
        return value

    def output(self, index: int) -> ir.Value:
        """Return a layer's value as a float32 output of the graph, with its shape set.

        In half precision, and where the value is that of another layer too, the output is a copy.

        Args:
            index: index of the layer, from 0.
        """
        scope, value = self.scopes[index], self.values[index]
        if scope.is_half or value.name != scope.name:
            if value.name == scope.name:
                value.name = f"{scope.name}/half"
            value = scope.cast(value, SINGLE) if scope.is_half else scope.op("Identity", value)
            value.name = scope.name
        is_free = scope.layer.index in self._free
        return describe(value, scope.dims(scope.layer.out_shape, is_free=is_free), SINGLE)

    def head_input(self, layer: Layer) -> ir.Value:
        """Return the input of a head as the output `082_yolo_logits` of the graph.

        Args:
            layer: the head.
        """
        (source, *_), (shape, *_) = layer.sources, layer.in_shapes
        name = logits_name(layer)
        value = Scope(self.graph, name).op("Identity", self._value(source, SINGLE))
        value.name = name
        dims: Dims = [self.graph.batch, *(shape if shape.is_map else (shape.size,))]
        if source in self._free:
            dims = [self.graph.batch, shape.c, f"{name}.height", f"{name}.width"]
        return describe(value, dims, SINGLE)

    def finish(self, outputs: Sequence[ir.Value], metadata: Mapping[str, str]) -> ir.Model:
        """Return the complete model; recurrent states are the last of its inputs and outputs.

        Args:
            outputs: outputs of the graph, without recurrent states.
            metadata: text by key.
        """
        graph, network = self.graph, self.model.network
        main = ir.Graph(
            graph.inputs,
            [*outputs, *graph.states.values()],
            nodes=graph.nodes,
            initializers=list(graph.initializers.values()),
            opset_imports={"": graph.opset, **graph.domains},
            name=printable(network.file.rsplit("/", 1)[-1]),
        )
        return ir.Model(
            main,
            ir_version=graph.ir_version,
            producer_name="darkconv",
            producer_version=__version__,
            metadata_props=dict(metadata),
        )
