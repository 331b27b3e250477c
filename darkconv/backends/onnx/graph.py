"""Building an ONNX graph node by node, under names that show Darknet's layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.core.model import Array, Model
from darkconv.core.network import Layer, Network
from darkconv.core.shape import Shape

BATCH = "batch"
OPSET = 13  # the oldest in which Softmax means one axis; every runtime in use reads it
IR_VERSION = 8
_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "Squeeze": 13, "Unsqueeze": 13}


class GraphBuilder:
    """Collects nodes and constants of one model.

    Attributes:
        opset: version of the standard operators.
        nodes: in order of execution.
        initializers: constants by name.
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self._names: dict[str, int] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    def unique(self, name: str) -> str:
        """The name, numbered if it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    def node(
        self, name: str, kind: str, inputs: Sequence[ir.Value | None], attributes: Mapping[str, Any]
    ) -> ir.Value:
        """Append a node with one output."""
        name = self.unique(name)
        node = ir.node(kind, inputs, attributes, name=name, version=self.opset)
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]

    def constant(self, array: npt.NDArray[Any], name: str) -> ir.Value:
        """A constant; equal small ones are shared."""
        key = (str(array.dtype), array.shape, array.tobytes()) if array.size <= 64 else None
        if key in self._shared:
            return self._shared[key]
        name = self.unique(name)
        tensor = ir.Tensor(np.ascontiguousarray(array), name=name)
        value = ir.Value(
            name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        self.initializers[name] = value
        if key is not None:
            self._shared[key] = value
        return value


class LayerScope:
    """What a layer's build function works with.

    Attributes:
        layer: to be built.
        network: that it belongs to.
        arrays: its own, or those of the layer it shares with, by slot name.
        inputs: values of its sources, (batch, ...).
        network_input: the value of the whole network's input.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        layer: Layer,
        network: Network,
        arrays: Mapping[str, Array],
        inputs: Sequence[ir.Value],
        network_input: ir.Value,
    ) -> None:
        self.graph = graph
        self.layer = layer
        self.network = network
        self.arrays = arrays
        self.inputs = inputs
        self.network_input = network_input

    @property
    def name(self) -> str:
        """`003_convolutional`."""
        return layer_name(self.layer)

    @property
    def x(self) -> ir.Value:
        """The first input."""
        return self.inputs[0]

    def op(self, kind: str, *inputs: "ir.Value | None", **attributes: Any) -> ir.Value:
        """Append an operator."""
        return self.graph.node(f"{self.name}/{kind}", kind, inputs, attributes)

    def floats(self, values: npt.ArrayLike, name: str = "constant") -> ir.Value:
        """A float32 constant."""
        return self.graph.constant(np.asarray(values, np.float32), f"{self.name}/{name}")

    def ints(self, *values: int) -> ir.Value:
        """An int64 vector constant."""
        return self.graph.constant(np.array(values, np.int64), f"{self.name}/ints")

    def reshape(self, x: ir.Value, *shape: int) -> ir.Value:
        """To a shape; 0 keeps the batch axis, -1 is what is left."""
        return self.op("Reshape", x, self.ints(*shape))

    def flatten(self, x: ir.Value) -> ir.Value:
        """(batch, ...) -> (batch, values)."""
        return self.op("Flatten", x, axis=1)

    def slice(
        self, x: ir.Value, starts: Mapping[int, int], ends: Mapping[int, int], step: int = 1
    ) -> ir.Value:
        """Cut along axes: `starts` and `ends` by axis."""
        axes = list(ends)
        begin = [starts.get(axis, 0) for axis in axes]
        return self.op(
            "Slice",
            x,
            self.ints(*begin),
            self.ints(*ends.values()),
            self.ints(*axes),
            self.ints(*[step] * len(axes)),
        )

    def channels(self, x: ir.Value, start: int, end: int, axis: int = 1) -> ir.Value:
        """Part of one axis."""
        return self.slice(x, {axis: start}, {axis: end})

    def concat(self, parts: Sequence[ir.Value], axis: int = 1) -> ir.Value:
        """Join along an axis; a single part is passed on."""
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=axis)

    def pad(
        self, x: ir.Value, before: Sequence[int], after: Sequence[int], value: float = 0.0
    ) -> ir.Value:
        """Constant border; one number per axis."""
        if not any(before) and not any(after):
            return x
        return self.op("Pad", x, self.ints(*before, *after), self.floats(value), mode="constant")

    def reduce(self, kind: str, x: ir.Value, axis: int, *, keepdims: bool = True) -> ir.Value:
        """ReduceSum or ReduceMax along one axis, in the form of the opset."""
        if self.graph.opset >= _AXES_ARE_INPUTS[kind]:
            return self.op(kind, x, self.ints(axis), keepdims=int(keepdims))
        return self.op(kind, x, axes=[axis], keepdims=int(keepdims))

    def add(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Plus a constant."""
        return self.op("Add", x, self.floats(value))

    def multiply(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Times a constant."""
        return self.op("Mul", x, self.floats(value))


def layer_name(layer: Layer) -> str:
    """`003_convolutional`."""
    return f"{layer.index:03d}_{layer.type}"


def layer_arrays(model: Model, layer: Layer) -> dict[str, Array]:
    """Arrays that a layer computes with, by slot name."""
    owner = layer if layer.shared is None else model.network.layers[layer.shared]
    return {slot.name: model.arrays[f"{owner.index}.{slot.name}"] for slot in owner.slots}


def axes(shape: Shape) -> list[str | int]:
    """Shape of a value for a batch of any size."""
    return [BATCH, *shape] if shape.is_map else [BATCH, shape.size]
