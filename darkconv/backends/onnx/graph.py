"""Collecting the nodes, constants, states and inputs of an ONNX graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from darkconv.backends.onnx.options import OnnxOptions

BATCH = "batch"
SHARED_SIZE = 64  # constants of up to so many values are kept once

Dims = Sequence[int | str]
"""Lengths of a value's axes; a text names one that is free."""


class GraphBuilder:
    """Collects what makes up one graph.

    Attributes:
        options: what the user chose.
        nodes: in order of execution.
        initializers: constants by name.
        inputs: beside the network's own.
        states: outputs that belong into an input at the next call, by the input's name.
        domains: of operators that are no standard ones, with their versions.
    """

    def __init__(self, options: OnnxOptions) -> None:
        self.options = options
        self.nodes: list[ir.Node] = []
        self.initializers: dict[str, ir.Value] = {}
        self.inputs: list[ir.Value] = []
        self.states: dict[str, ir.Value] = {}
        self.domains: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._shared: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return self.options.opset

    @property
    def ir_version(self) -> int:
        """Version of the file format: the oldest that may hold this opset."""
        imported = onnx.helper.make_opsetid("", self.opset)
        version: int = onnx.helper.find_min_ir_version_for([imported])
        return version

    @property
    def batch(self) -> int | str:
        """Length of the first axis."""
        return BATCH if self.options.has_free_batch else 1

    def unique(self, name: str) -> str:
        """The name, numbered if it is taken."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    def node(
        self,
        name: str,
        kind: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        *,
        outputs: int = 1,
        domain: str = "",
    ) -> Sequence[ir.Value]:
        """Append a node; its outputs are called as it is."""
        name = self.unique(name)
        known = {key: attribute(key, value) for key, value in attributes.items()}
        if domain:
            self.domains[domain] = 1
        version = self.domains.get(domain, self.opset)
        node = ir.node(
            kind, inputs, known, domain=domain, name=name, version=version, num_outputs=outputs
        )
        for place, value in enumerate(node.outputs):
            value.name = f"{name}:{place}" if place else name
        self.nodes.append(node)
        return node.outputs

    def constant(self, array: npt.NDArray[Any], name: str) -> ir.Value:
        """A constant; equal small ones are shared."""
        is_small = array.size <= SHARED_SIZE
        key = (str(array.dtype), array.shape, array.tobytes()) if is_small else None
        if key in self._shared:
            return self._shared[key]
        value = self.tensor(ir.Tensor(np.asarray(array)), name)
        if key is not None:
            self._shared[key] = value
        return value

    def tensor(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """A constant of any kind."""
        name = tensor.name = self.unique(name)
        value = ir.Value(
            name=name,
            shape=ir.Shape(tensor.shape.numpy()),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.initializers[name] = value
        return value

    def input(self, name: str, dims: Dims, kind: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
        """Return the graph's input of that name; the first call appends it."""
        known = {value.name: value for value in self.inputs}
        if name not in known:
            known[name] = describe(ir.Value(name=name), dims, kind)
            self.inputs.append(known[name])
        return known[name]


def attribute(name: str, value: Any) -> Any:
    """Of a node; lists of numbers as what they are, which onnx-ir takes long to find out."""
    is_ints = isinstance(value, list | tuple) and all(isinstance(one, int) for one in value)
    return ir.AttrInt64s(name, value) if is_ints else value


def describe(value: ir.Value, dims: Dims, kind: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """The value, its shape and type stated."""
    value.shape = ir.Shape(dims)
    value.type = ir.TensorType(kind)
    return value


def plain_proto(graph: ir.Model) -> onnx.ModelProto:
    """Return the graph without shapes of inner values.

    Those of arrays are said with the arrays. The others follow from the input, and would hold a
    tool to the symbols in them, such as `batch`, when it fixes the input's shape.
    """
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    return proto
