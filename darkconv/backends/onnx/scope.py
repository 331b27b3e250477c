"""Scopes: they append nodes to the graph, under names that begin with the Darknet layer's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.backends.onnx.graph import Dims, GraphBuilder, describe
from darkconv.backends.onnx.precision import LARGEST, as_half
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.shape import Shape

Length = int | ir.Value
"""Length of an axis: a number, or an int64 vector of one number known when the graph runs."""

LOWEST = -3.402823466e38  # -FLT_MAX
_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "Squeeze": 13, "Unsqueeze": 13}


class Scope:
    """Appends nodes to a graph.

    Attributes:
        graph: graph that is being built.
        name: prefix of the names of all its nodes.
        kind: dtype of its float values, `FLOAT`, or `FLOAT16` in half precision.
    """

    kind = ir.DataType.FLOAT

    def __init__(self, graph: GraphBuilder, name: str) -> None:
        self.graph = graph
        self.name = name

    @property
    def is_half(self) -> bool:
        """Return True if the scope computes in half precision."""
        return self.kind == ir.DataType.FLOAT16

    def ops(
        self,
        kind: str,
        *inputs: ir.Value | None,
        outputs: int,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Append a node of several outputs, and return the outputs.

        Args:
            kind: operator type, such as "Conv".
            inputs: values that the node reads; None for an optional input that is left out.
            outputs: number of outputs.
            domain: domain of the operator; "" for ONNX's standard operators.
            attributes: attributes of the node, by name.

        Returns:
            One value for each output.
        """
        name = f"{self.name}/{kind}"
        return self.graph.node(name, kind, inputs, attributes, outputs=outputs, domain=domain)

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Append a node of a standard operator with one output.

        Args:
            kind: operator type, such as "Conv".
            inputs: values that the node reads; None for an optional input that is left out.
            attributes: attributes of the node, by name.

        Returns:
            The output of the node.
        """
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def constant(self, array: npt.NDArray[Any], name: str) -> ir.Value:
        """Return a constant with the dtype of an array.

        Args:
            array: values of the constant.
            name: name of the constant within the scope.
        """
        return self.graph.constant(array, f"{self.name}/{name}")

    def floats(self, values: npt.ArrayLike, name: str = "constant") -> ir.Value:
        """Return a constant with the scope's float dtype.

        Args:
            values: numbers; they are rounded to float32.
            name: name of the constant within the scope.
        """
        return self.constant(np.asarray(values, np.float32), name)

    def cast(self, x: ir.Value, kind: ir.DataType) -> ir.Value:
        """Return a value converted to another dtype.

        Args:
            x: value of any shape.
            kind: the new dtype.
        """
        return self.op("Cast", x, to=kind)

    def ints(self, *values: int) -> ir.Value:
        """Return an int64 vector constant.

        Args:
            values: elements of the vector.
        """
        return self.constant(np.array(values, np.int64), "ints")

    def lengths(self, *lengths: Length) -> ir.Value:
        """Return an int64 vector; it is a constant where all its elements are known.

        Args:
            lengths: elements of the vector; a value of the graph has one element.
        """
        known = [length for length in lengths if isinstance(length, int)]
        if len(known) == len(lengths):
            return self.ints(*known)
        parts = [self.ints(part) if isinstance(part, int) else part for part in lengths]
        return self.op("Concat", *parts, axis=0)

    def reshape(self, x: ir.Value, *lengths: Length) -> ir.Value:
        """Return a value with another shape.

        Args:
            x: value of any shape.
            lengths: the new shape; 0 keeps the axis at this place, -1 stands for the remaining
                elements.
        """
        return self.op("Reshape", x, self.lengths(*lengths))

    def flatten(self, x: ir.Value) -> ir.Value:
        """Return a value of shape (batch, ...) as (batch, values).

        Args:
            x: value of two or more axes.
        """
        return self.op("Flatten", x, axis=1)

    def transpose(self, x: ir.Value, *perm: int) -> ir.Value:
        """Return a value with its axes in another order.

        Args:
            x: value to transpose.
            perm: for each new axis the index of the old one, from 0.
        """
        return self.op("Transpose", x, perm=perm)

    def slice(
        self, x: ir.Value, starts: Mapping[int, int], ends: Mapping[int, int], step: int = 1
    ) -> ir.Value:
        """Return a part of a value, cut out along some axes.

        Args:
            x: value to cut.
            starts: first index by axis, from 0; an axis without one starts at 0.
            ends: index after the last one by axis; only these axes are cut.
            step: distance of the indices that are taken, the same for all these axes.
        """
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

    def channels(self, x: ir.Value, start: int, end: int, axis: int = 1, step: int = 1) -> ir.Value:
        """Return a part of a value along one axis, by default that of the channels.

        Args:
            x: value to cut.
            start: first index, from 0.
            end: index after the last one.
            axis: axis that is cut.
            step: distance of the indices that are taken.
        """
        return self.slice(x, {axis: start}, {axis: end}, step)

    def concat(self, parts: Sequence[ir.Value], axis: int = 1) -> ir.Value:
        """Join values along an axis; a single value is returned as it is.

        Args:
            parts: values that differ at most in their length along the axis.
            axis: axis along which they are joined.
        """
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=axis)

    def pad(
        self, x: ir.Value, before: Sequence[int], after: Sequence[int], value: float = 0.0
    ) -> ir.Value:
        """Return a value with a constant border; without one it is returned as it is.

        Args:
            x: value to pad.
            before: width of the border before the first element, for each axis.
            after: width of the border after the last element, for each axis.
            value: number that fills the border.
        """
        if not any(before) and not any(after):
            return x
        return self.op("Pad", x, self.ints(*before, *after), self.floats(value), mode="constant")

    def reduce(self, kind: str, x: ir.Value, axis: int, *, keepdims: bool = True) -> ir.Value:
        """Reduce a value along one axis, with the node in the form of the opset.

        Args:
            kind: "ReduceSum" or "ReduceMax".
            x: value to reduce.
            axis: axis that is reduced.
            keepdims: keep the axis, with length 1.

        Returns:
            The reduced value.
        """
        return self._along(kind, x, axis, keepdims=int(keepdims))

    def unsqueeze(self, x: ir.Value, axis: int) -> ir.Value:
        """Return a value with a new axis of length 1.

        Args:
            x: value to reshape.
            axis: place of the new axis.
        """
        return self._along("Unsqueeze", x, axis)

    def squeeze(self, x: ir.Value, axis: int) -> ir.Value:
        """Take out an axis of length 1, and return the value.

        Args:
            x: value to reshape.
            axis: axis to take out.
        """
        return self._along("Squeeze", x, axis)

    def _along(self, kind: str, x: ir.Value, axis: int, **attributes: Any) -> ir.Value:
        if self.graph.opset >= _AXES_ARE_INPUTS[kind]:
            return self.op(kind, x, self.ints(axis), **attributes)
        return self.op(kind, x, axes=[axis], **attributes)

    def add(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Return a value plus a constant.

        Args:
            x: value of the scope's float dtype.
            value: number or array, broadcast to x.
        """
        return self.op("Add", x, self.floats(value))

    def multiply(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Return a value times a constant.

        Args:
            x: value of the scope's float dtype.
            value: number or array, broadcast to x.
        """
        return self.op("Mul", x, self.floats(value))

    def lengths_of(self, x: ir.Value, start: int, end: int) -> ir.Value:
        """Return the lengths of consecutive axes as an int64 vector, computed when the graph runs.

        Args:
            x: value whose shape is read.
            start: first axis, from 0.
            end: axis after the last one.
        """
        return self.slice(self.op("Shape", x), {0: start}, {0: end})

    def times(self, length: Length, factor: int) -> Length:
        """Return a length times a factor.

        Args:
            length: number, or int64 vector of one number.
            factor: whole factor.
        """
        if isinstance(length, int):
            return length * factor
        return self.op("Mul", length, self.ints(factor))

    def divided(self, length: Length, divisor: int) -> Length:
        """Return a length divided by a number, rounded down.

        Args:
            length: number, or int64 vector of one number.
            divisor: whole divisor above 0.
        """
        if isinstance(length, int):
            return length // divisor
        return self.op("Div", length, self.ints(divisor))


class LayerScope(Scope):
    """The scope that a layer's build function works with.

    Attributes:
        layer: layer to be built.
        network: network that the layer belongs to.
        arrays: arrays of the layer, or of the layer that it shares them with, by slot name.
        inputs: values of its sources, (batch, ...).
        network_input: float32 input of the whole network.
        is_free: True if height and width of its input are known only when the graph runs.
        kind: dtype of its inputs, its constants and its value.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        layer: Layer,
        network: Network,
        arrays: Mapping[str, Array],
        inputs: Sequence[ir.Value],
        network_input: ir.Value,
        *,
        is_free: bool = False,
        kind: ir.DataType = ir.DataType.FLOAT,
        name: str | None = None,
    ) -> None:
        super().__init__(graph, name or layer.label)
        self.layer = layer
        self.network = network
        self.arrays = arrays
        self.inputs = inputs
        self.network_input = network_input
        self.is_free = is_free
        self.kind = kind

    def floats(self, values: npt.ArrayLike, name: str = "constant") -> ir.Value:
        """Return a constant with the layer's float dtype.

        Raises:
            UnsupportedError: half precision cannot hold a number.
        """
        if not self.is_half:
            return super().floats(values, name)
        return self.constant(as_half(values, name, self.network.where(self.layer.index)), name)

    def in_float32(
        self, build: Callable[["LayerScope", ir.Value], ir.Value], x: ir.Value
    ) -> ir.Value:
        """Return the value that a function builds from x, in float32 even in half precision.

        Args:
            build: appends nodes to a scope, from a value in its dtype.
            x: value in the scope's dtype.
        """
        if not self.is_half:
            return build(self, x)
        wide = self.part("float32", ir.DataType.FLOAT)
        return self.cast(build(wide, self.cast(x, wide.kind)), self.kind)

    @property
    def lowest(self) -> float:
        """Return the least number of the float dtype, with which the C program starts a maximum."""
        return -LARGEST if self.is_half else LOWEST

    @property
    def x(self) -> ir.Value:
        """Return the first input."""
        return self.inputs[0]

    @property
    def size(self) -> tuple[Length, Length]:
        """Return height and width of the first input."""
        _, height, width = self.layer.in_shapes[0]
        if not self.is_free:
            return height, width
        return self.lengths_of(self.x, 2, 3), self.lengths_of(self.x, 3, 4)

    @property
    def cells(self) -> int:
        """Return height times width of the first input; -1 where they are free."""
        _, height, width = self.layer.in_shapes[0]
        return -1 if self.is_free else height * width

    def dims(self, shape: Shape, *, is_free: bool = False) -> Dims:
        """Return the lengths of the axes of a value of this layer, free ones as names.

        Args:
            shape: shape of the value, without the batch axis.
            is_free: True if height and width, or the length of a vector, are known only when the
                graph runs.
        """
        if not shape.is_map:
            return [self.graph.batch, f"{self.name}.size" if is_free else shape.size]
        if not is_free:
            return [self.graph.batch, *shape]
        return [self.graph.batch, shape.c, f"{self.name}.height", f"{self.name}.width"]

    def part(self, name: str, kind: ir.DataType | None = None) -> "LayerScope":
        """Return the scope of the same layer with a longer name, or with another dtype.

        Args:
            name: text that is appended to the name.
            kind: dtype; None for that of this scope.
        """
        return LayerScope(
            self.graph,
            self.layer,
            self.network,
            self.arrays,
            self.inputs,
            self.network_input,
            is_free=self.is_free,
            kind=kind or self.kind,
            name=f"{self.name}/{name}",
        )

    def inner(self, name: str, layer: Layer, x: ir.Value) -> "LayerScope":
        """Return the scope of a sub-layer, with the arrays that bear its name.

        Args:
            name: name of the sub-layer, such as "input_layer".
            layer: the sub-layer.
            x: its input, (batch, ...).
        """
        prefix = f"{name}."
        arrays = {
            key.removeprefix(prefix): array
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }
        return LayerScope(
            self.graph,
            layer,
            self.network,
            arrays,
            [x],
            self.network_input,
            kind=self.kind,
            name=f"{self.name}/{name}",
        )

    def state(self, name: str, shape: Shape) -> ir.Value:
        """Return the recurrent state that the last call left, as an input of the graph.

        Args:
            name: name of the state, "h" or "c".
            shape: shape of the state, without the batch axis.
        """
        state = self.graph.input(f"{self.name}.{name}_in", self.dims(shape))
        return self.cast(state, self.kind) if self.is_half else state

    def keep(self, name: str, value: ir.Value, shape: Shape) -> None:
        """Make a value an output of the graph: the recurrent state for the next call.

        Args:
            name: name of the state, "h" or "c".
            value: value of the state after this call.
            shape: shape of the state, without the batch axis.
        """
        kept = self.cast(value, ir.DataType.FLOAT) if self.is_half else self.op("Identity", value)
        kept.name = f"{self.name}.{name}_out"
        self.graph.states[f"{self.name}.{name}_in"] = describe(kept, self.dims(shape))
