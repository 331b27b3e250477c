"""Collecting the nodes, constants, states and inputs of an ONNX graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from darkconv.backends.onnx.options import OnnxOptions

BATCH = "batch"
SHARED_SIZE = 64  # equal constants of at most so many values are stored once

Dims = Sequence[int | str]
"""Lengths of a value's axes; a string is the name of a free length."""


class GraphBuilder:
    """Collects the parts of one graph.

    Attributes:
        options: options that the user chose.
        nodes: nodes in order of execution.
        initializers: constants by name.
        inputs: inputs of the graph, that of the network first.
        states: outputs that hold recurrent state, by the input that takes them at the next call.
        domains: versions of the domains of operators that are not standard, by domain.
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
        """Return the version of the standard operators."""
        return self.options.opset

    @property
    def ir_version(self) -> int:
        """Return the version of the file format: the oldest that may hold this opset."""
        imported = onnx.helper.make_opsetid("", self.opset)
        version: int = onnx.helper.find_min_ir_version_for([imported])
        return version

    @property
    def batch(self) -> int | str:
        """Return the length of the batch axis, or its name where it is free."""
        return BATCH if self.options.has_free_batch else 1

    def unique(self, name: str) -> str:
        """Return a name, with a number appended if it is taken already.

        Args:
            name: name that is asked for.
        """
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
        """Append a node, and return its outputs; the first has the name of the node.

        Args:
            name: name of the node; it is numbered if it is taken.
            kind: operator type, such as "Conv".
            inputs: values that the node reads; None for an optional input that is left out.
            attributes: attributes of the node, by name.
            outputs: number of outputs.
            domain: domain of the operator; "" for ONNX's standard operators.

        Returns:
            One value for each output.
        """
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
        """Return a constant; small constants that are equal are stored once.

        Args:
            array: values of the constant, with its dtype.
            name: name of the constant; it is numbered if it is taken.
        """
        is_small = array.size <= SHARED_SIZE
        key = (str(array.dtype), array.shape, array.tobytes()) if is_small else None
        if key in self._shared:
            return self._shared[key]
        value = self.tensor(ir.Tensor(np.asarray(array)), name)
        if key is not None:
            self._shared[key] = value
        return value

    def tensor(self, tensor: ir.TensorProtocol, name: str) -> ir.Value:
        """Make a tensor an initializer, and return its value.

        Args:
            tensor: tensor of any kind; it gets the name of the initializer.
            name: name of the initializer; it is numbered if it is taken.

        Returns:
            The value of the initializer in the graph.
        """
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
        """Return the graph's input of a name; the first call appends it.

        Args:
            name: name of the input.
            dims: lengths of its axes.
            kind: dtype of the input.
        """
        known = {value.name: value for value in self.inputs}
        if name not in known:
            known[name] = describe(ir.Value(name=name), dims, kind)
            self.inputs.append(known[name])
        return known[name]


def attribute(name: str, value: Any) -> Any:
    """Return an attribute of a node.

    A list of integers gets its type here, because onnx-ir takes long to find it out.

    Args:
        name: name of the attribute.
        value: a number, a string, a tensor, or a list of numbers.
    """
    is_ints = isinstance(value, list | tuple) and all(isinstance(one, int) for one in value)
    return ir.AttrInt64s(name, value) if is_ints else value


def describe(value: ir.Value, dims: Dims, kind: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """Return a value, after its shape and dtype have been set.

    Args:
        value: value of the graph; it is changed.
        dims: lengths of its axes.
        kind: dtype of the value.
    """
    value.shape = ir.Shape(dims)
    value.type = ir.TensorType(kind)
    return value


def plain_proto(graph: ir.Model) -> onnx.ModelProto:
    """Return the graph without the shapes of inner values.

    The shapes of arrays are stored with the arrays. The others follow from the input. If they were
    stored, a tool that fixes the shape of the input would be bound to their symbols, such as
    `batch`.

    Args:
        graph: complete model.
    """
    proto = ir.to_proto(graph)
    del proto.graph.value_info[:]
    return proto
