"""Appending operators under names that show Darknet's layers."""

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
"""Of an axis: a number, or an int64 vector of one that is known when the graph runs."""

LOWEST = -3.402823466e38  # -FLT_MAX
_AXES_ARE_INPUTS = {"ReduceSum": 13, "ReduceMax": 18, "Squeeze": 13, "Unsqueeze": 13}


class Scope:
    """Appends operators to a graph.

    Attributes:
        graph: that is being built.
        name: what the names of all its nodes begin with.
        kind: of its float values, `FLOAT` or in half precision `FLOAT16`.
    """

    kind = ir.DataType.FLOAT

    def __init__(self, graph: GraphBuilder, name: str) -> None:
        self.graph = graph
        self.name = name

    @property
    def is_half(self) -> bool:
        """Whether it computes in half precision."""
        return self.kind == ir.DataType.FLOAT16

    def ops(
        self,
        kind: str,
        *inputs: ir.Value | None,
        outputs: int,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Append an operator of several outputs; by default a standard one."""
        name = f"{self.name}/{kind}"
        return self.graph.node(name, kind, inputs, attributes, outputs=outputs, domain=domain)

    def op(self, kind: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Append an operator."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def constant(self, array: npt.NDArray[Any], name: str) -> ir.Value:
        """A constant of the array's own type."""
        return self.graph.constant(array, f"{self.name}/{name}")

    def floats(self, values: npt.ArrayLike, name: str = "constant") -> ir.Value:
        """A constant of the scope's float type."""
        return self.constant(np.asarray(values, np.float32), name)

    def cast(self, x: ir.Value, kind: ir.DataType) -> ir.Value:
        """In another type."""
        return self.op("Cast", x, to=kind)

    def ints(self, *values: int) -> ir.Value:
        """An int64 vector constant."""
        return self.constant(np.array(values, np.int64), "ints")

    def lengths(self, *lengths: Length) -> ir.Value:
        """An int64 vector."""
        known = [length for length in lengths if isinstance(length, int)]
        if len(known) == len(lengths):
            return self.ints(*known)
        parts = [self.ints(part) if isinstance(part, int) else part for part in lengths]
        return self.op("Concat", *parts, axis=0)

    def reshape(self, x: ir.Value, *lengths: Length) -> ir.Value:
        """To a shape; 0 keeps the axis at that place, -1 is what is left."""
        return self.op("Reshape", x, self.lengths(*lengths))

    def flatten(self, x: ir.Value) -> ir.Value:
        """(batch, ...) -> (batch, values)."""
        return self.op("Flatten", x, axis=1)

    def transpose(self, x: ir.Value, *perm: int) -> ir.Value:
        """Axes in another order."""
        return self.op("Transpose", x, perm=perm)

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

    def channels(self, x: ir.Value, start: int, end: int, axis: int = 1, step: int = 1) -> ir.Value:
        """Part of one axis."""
        return self.slice(x, {axis: start}, {axis: end}, step)

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
        return self._along(kind, x, axis, keepdims=int(keepdims))

    def unsqueeze(self, x: ir.Value, axis: int) -> ir.Value:
        """A new axis of length 1."""
        return self._along("Unsqueeze", x, axis)

    def squeeze(self, x: ir.Value, axis: int) -> ir.Value:
        """Take out an axis of length 1."""
        return self._along("Squeeze", x, axis)

    def _along(self, kind: str, x: ir.Value, axis: int, **attributes: Any) -> ir.Value:
        if self.graph.opset >= _AXES_ARE_INPUTS[kind]:
            return self.op(kind, x, self.ints(axis), **attributes)
        return self.op(kind, x, axes=[axis], **attributes)

    def add(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Plus a constant."""
        return self.op("Add", x, self.floats(value))

    def multiply(self, x: ir.Value, value: npt.ArrayLike) -> ir.Value:
        """Times a constant."""
        return self.op("Mul", x, self.floats(value))

    def lengths_of(self, x: ir.Value, start: int, end: int) -> ir.Value:
        """Lengths of some axes, when the graph runs."""
        return self.slice(self.op("Shape", x), {0: start}, {0: end})

    def times(self, length: Length, factor: int) -> Length:
        """A length multiplied."""
        if isinstance(length, int):
            return length * factor
        return self.op("Mul", length, self.ints(factor))

    def divided(self, length: Length, divisor: int) -> Length:
        """A length divided, rounded down."""
        if isinstance(length, int):
            return length // divisor
        return self.op("Div", length, self.ints(divisor))


class LayerScope(Scope):
    """What a layer's build function works with.

    Attributes:
        layer: to be built.
        network: that it belongs to.
        arrays: its own, or those of the layer it shares with, by slot name.
        inputs: values of its sources, (batch, ...).
        network_input: float32, of the whole network.
        is_free: rows and columns of its input are known only when the graph runs.
        kind: of its inputs, its constants and its value.
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
        """A constant of the layer's float type.

        Raises:
            UnsupportedError: half precision cannot hold it.
        """
        if not self.is_half:
            return super().floats(values, name)
        return self.constant(as_half(values, name, self.network.where(self.layer.index)), name)

    def in_float32(
        self, build: Callable[["LayerScope", ir.Value], ir.Value], x: ir.Value
    ) -> ir.Value:
        """What a function appends to x, computed in float32 even in half precision."""
        if not self.is_half:
            return build(self, x)
        wide = self.part("float32", ir.DataType.FLOAT)
        return self.cast(build(wide, self.cast(x, wide.kind)), self.kind)

    @property
    def lowest(self) -> float:
        """The least number of its float type: what C starts a maximum with."""
        return -LARGEST if self.is_half else LOWEST

    @property
    def x(self) -> ir.Value:
        """The first input."""
        return self.inputs[0]

    @property
    def size(self) -> tuple[Length, Length]:
        """Rows and columns of the first input."""
        _, height, width = self.layer.in_shapes[0]
        if not self.is_free:
            return height, width
        return self.lengths_of(self.x, 2, 3), self.lengths_of(self.x, 3, 4)

    @property
    def cells(self) -> int:
        """Rows times columns of the first input; -1 where they are free."""
        _, height, width = self.layer.in_shapes[0]
        return -1 if self.is_free else height * width

    def dims(self, shape: Shape, *, is_free: bool = False) -> Dims:
        """Lengths of the axes of a value of this layer, free ones by name."""
        if not shape.is_map:
            return [self.graph.batch, f"{self.name}.size" if is_free else shape.size]
        if not is_free:
            return [self.graph.batch, *shape]
        return [self.graph.batch, shape.c, f"{self.name}.height", f"{self.name}.width"]

    def part(self, name: str, kind: ir.DataType | None = None) -> "LayerScope":
        """The same layer under a longer name, for what follows it, or for what is of a kind."""
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
        """A layer inside this one; its arrays bear its name."""
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
        """The state that the last call left behind: an input of the graph."""
        state = self.graph.input(f"{self.name}.{name}_in", self.dims(shape))
        return self.cast(state, self.kind) if self.is_half else state

    def keep(self, name: str, value: ir.Value, shape: Shape) -> None:
        """Give the state for the next call as an output of the graph."""
        kept = self.cast(value, ir.DataType.FLOAT) if self.is_half else self.op("Identity", value)
        kept.name = f"{self.name}.{name}_out"
        self.graph.states[f"{self.name}.{name}_in"] = describe(kept, self.dims(shape))
