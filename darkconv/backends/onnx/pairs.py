"""Pairs of QuantizeLinear and DequantizeLinear around the operators that compute in 8 bits.

A runtime with 8-bit kernels replaces an operator and the pairs around it by one kernel.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.helper import make_node
from onnx.numpy_helper import from_array, to_array

from darkconv.backends.ranges import Range
from darkconv.core.model import Array

WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
"""Operators with weights; their inputs are a value, weights, and perhaps biases."""
PASSING = ("MaxPool", "Resize")
"""Operators whose outputs are some of their input's values, and so have the input's scale."""
SEVERAL = ("Add", "Mul", "Concat")
"""Operators whose inputs are all values of layers."""
ASYMMETRIC, SYMMETRIC = FORMS = ("asymmetric", "symmetric")
SMALLEST = float(np.finfo(np.float32).tiny)
MOST_OF_BIASES = 2.0**30
"""Largest bias in units of its step: products are added to it in 32 bits."""


@dataclass(frozen=True)
class Scale:
    """The meaning of 8-bit levels: value = (level - zero) * step.

    Attributes:
        step: difference of two neighbouring levels.
        zero: level that stands for 0.
        kind: dtype of the levels, uint8, or int8 with zero 0.
    """

    step: np.float32
    zero: int
    kind: type[np.uint8] | type[np.int8]

    @classmethod
    def of(cls, low: float, high: float, form: str) -> "Scale":
        """Return the scale for the values of a range; the range is extended to include 0.

        Args:
            low: least value.
            high: largest value.
            form: "asymmetric" or "symmetric".
        """
        low, high = min(low, 0.0), max(high, 0.0)
        if form == SYMMETRIC:
            return cls(np.float32(max(-low, high, SMALLEST * 127) / 127), 0, np.int8)
        step = np.float32(max(high - low, SMALLEST * 255) / 255)
        return cls(step, int(np.rint(-low / step).clip(0, 255)), np.uint8)

    def leaky(self, slope: float) -> "Scale":
        """Return the scale for the output of a leaky ReLU whose input has this scale.

        Levels above zero stay the same, so that only values below zero are rounded.

        Args:
            slope: slope of the leaky ReLU below zero.
        """
        return replace(self, zero=int(np.ceil(slope * self.zero)))


def weight_steps(rows: Array, most: int) -> Array:
    """Return the step of each row of weights, (rows,), so that the largest weight is `most` steps.

    Args:
        rows: weights, (rows, ...) float32.
        most: number of levels on either side of zero.
    """
    largest = np.abs(rows).reshape(len(rows), -1).max(axis=1, initial=0)
    steps: Array = np.maximum(largest / np.float32(most), np.float32(SMALLEST))
    return steps


def with_pairs(
    proto: onnx.ModelProto,
    chosen: Collection[str],
    ranges: Mapping[str, Range],
    *,
    form: str = ASYMMETRIC,
    most: int = 127,
) -> onnx.ModelProto:
    """Return a graph in which some nodes compute in 8 bits.

    Args:
        proto: float32 graph, with its weights inside.
        chosen: names of those nodes.
        ranges: least and largest value of the inputs and outputs of these nodes, by the value's
            name.
        form: "asymmetric": values are unsigned, with a zero level of their own, and outputs of
            nodes are rounded too, as onnxruntime's kernels need it. "symmetric": values are signed
            with zero 0, and only inputs of nodes with weights are rounded, so that TensorRT may
            fuse the nodes after them.
        most: number of levels of weights on either side of zero.
    """
    writer = _Writer(proto, chosen, ranges, form, most)
    for node in proto.graph.node:
        writer.append(node)
    return writer.finished()


class _Writer:
    """Appends the nodes of a graph to another graph, with pairs."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        chosen: Collection[str],
        ranges: Mapping[str, Range],
        form: str,
        most: int,
    ) -> None:
        self.proto, self.ranges, self.form, self.most = proto, ranges, form, most
        self.arrays = {one.name: one for one in proto.graph.initializer}
        self.results = {value.name for value in proto.graph.output}
        self.chosen = {
            node.name
            for node in proto.graph.node
            if node.name in chosen and (form == ASYMMETRIC or node.op_type in WEIGHTED)
        }
        self.merged = dict(self._merged()) if form == ASYMMETRIC else {}
        self.nodes: list[onnx.NodeProto] = []
        self.added: dict[str, onnx.TensorProto] = {}
        self.scales: dict[str, Scale] = {}
        self.rounded: dict[str, str] = {}  # name of a value after its pair
        self.made: set[str] = set()  # outputs of nodes in 8 bits

    def _merged(self) -> Any:
        """Yield names of nodes with weights, each with the ReLU that its rounding replaces."""
        readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.proto.graph.node:
            for name in node.input:
                readers[name].append(node)
        for node in self.proto.graph.node:
            behind = readers[node.output[0]]
            if node.op_type in WEIGHTED and node.name in self.chosen and len(behind) == 1:
                (relu,) = behind
                is_free = relu.name in self.chosen and node.output[0] not in self.results
                if is_free and self._cuts_at_zero(relu):
                    yield node.name, relu

    def _cuts_at_zero(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "Relu":
            return True
        if node.op_type != "Clip" or len(node.input) < 3:
            return False
        low, high = (float(to_array(self.arrays[name])) for name in node.input[1:3])
        return low == 0 and self.ranges[node.output[0]][1] <= high

    def append(self, node: onnx.NodeProto) -> None:
        """Append a node, with the pairs around it."""
        if node.name in {relu.name for relu in self.merged.values()}:
            return
        new = onnx.NodeProto()
        new.CopyFrom(node)
        is_chosen = node.name in self.chosen
        for place, name in enumerate(node.input):
            if name in self.made:
                is_apart = node.op_type in WEIGHTED and not is_chosen
                new.input[place] = self._apart(name, node) if is_apart else self.rounded[name]
        if not is_chosen:
            self.nodes.append(new)
            return
        count = len(node.input) if node.op_type in SEVERAL else 1
        for place in range(count):
            if node.input[place] not in self.arrays:
                new.input[place] = self._pair(node.input[place])
        if node.op_type in WEIGHTED:
            self._round_weights(node, new)
        self.nodes.append(new)
        if self.form == ASYMMETRIC:
            self._round_output(node, new)

    def _round_output(self, node: onnx.NodeProto, new: onnx.NodeProto) -> None:
        last = self.merged.get(node.name, node)
        value = last.output[0]
        if node.op_type in PASSING:
            self.scales[value] = self.scales[node.input[0]]
        elif node.op_type == "LeakyRelu":
            self.scales[value] = self.scales[node.input[0]].leaky(node.attribute[0].f)
        source = f"{value}/float" if value in self.results else value
        new.output[0] = source
        self._pair(value, source=source, target=value if value in self.results else None)
        self.made.add(value)

    def _pair(self, value: str, *, source: str | None = None, target: str | None = None) -> str:
        """Append the pair of a value, once, and return the name of the pair's output."""
        if value not in self.rounded:
            if value not in self.scales:
                self.scales[value] = Scale.of(*self.ranges[value], self.form)
            scale, level = self.scales[value], f"{value}/levels"
            words = [
                self._constant(f"{value}/scale", scale.step),
                self._constant(f"{value}/zero_point", scale.kind(scale.zero)),
            ]
            out = target or f"{value}/dequantized"
            inputs = [source or value, *words]
            self.nodes += [
                make_node("QuantizeLinear", inputs, [level], f"{value}/QuantizeLinear"),
                make_node("DequantizeLinear", [level, *words], [out], f"{value}/DequantizeLinear"),
            ]
            self.rounded[value] = out
        return self.rounded[value]

    def _apart(self, value: str, node: onnx.NodeProto) -> str:
        """Append a conversion from 8 bits for a node with weights that computes in float32.

        The scale is given for each channel, though all are the same. After a scale that is a single
        number, and before a ReLU and rounding, onnxruntime assumes that the weights were left in
        float32 by mistake. It would round them to 8 bits with one scale for all channels.
        """
        count = self._count_inputs(node)
        out = f"{value}/dequantized/{node.name}"
        scale = self.scales[value]
        words = [
            f"{value}/levels",
            self._constant(f"{value}/scales", np.full(count, scale.step)),
            self._constant(f"{value}/zero_points", np.full(count, scale.zero, scale.kind)),
        ]
        self.nodes.append(make_node("DequantizeLinear", words, [out], out, axis=1))
        return out

    def _count_inputs(self, node: onnx.NodeProto) -> int:
        """Return the number of channels that a node with weights reads."""
        shape = self.arrays[node.input[1]].dims
        if node.op_type == "Conv":
            groups = next((one.i for one in node.attribute if one.name == "group"), 1)
            return int(shape[1] * groups)
        return int(shape[1 - _output_axis(node)] if node.op_type == "Gemm" else shape[0])

    def _round_weights(self, node: onnx.NodeProto, new: onnx.NodeProto) -> None:
        """Replace a node's weights by 8-bit ones and, if asymmetric, its biases by 32-bit ones."""
        weights = np.asarray(to_array(self.arrays[node.input[1]]), np.float32)
        axis = _output_axis(node)
        steps = weight_steps(np.moveaxis(weights, axis, 0), self.most)
        has_biases = len(node.input) > 2 and node.input[2] and self.form == ASYMMETRIC
        if has_biases:
            biases = np.asarray(to_array(self.arrays[node.input[2]]), np.float64)
            step = float(self.scales[node.input[0]].step)
            least = (np.abs(biases) / step / MOST_OF_BIASES).astype(np.float32)
            steps = np.maximum(steps, least)
            unit = (steps * np.float32(step)).astype(np.float32)
            levels = np.rint(biases / unit).astype(np.int32)
            new.input[2] = self._dequantized(f"{node.name}/biases", levels, unit, 0)
        shape = [1] * weights.ndim
        shape[axis] = -1
        rounded = np.rint(weights / steps.reshape(shape)).clip(-self.most, self.most)
        name = f"{node.name}/weights"
        new.input[1] = self._dequantized(name, rounded.astype(np.int8), steps, axis)

    def _dequantized(self, name: str, levels: npt.NDArray[Any], steps: Array, axis: int) -> str:
        words = [self._constant(f"{name}/levels", levels), self._constant(f"{name}/scale", steps)]
        if levels.dtype == np.int8:
            words.append(self._constant(f"{name}/zero_point", np.zeros(len(steps), np.int8)))
        out = f"{name}/dequantized"
        node = make_node("DequantizeLinear", words, [out], f"{name}/DequantizeLinear", axis=axis)
        self.nodes.append(node)
        return out

    def _constant(self, name: str, values: npt.ArrayLike) -> str:
        self.added[name] = from_array(np.asarray(values), name)
        return name

    def finished(self) -> onnx.ModelProto:
        """Return the graph, without the initializers that no node reads."""
        new = onnx.ModelProto()
        new.CopyFrom(self.proto)
        read = {name for node in self.nodes for name in node.input} | self.results
        kept = [one for one in self.proto.graph.initializer if one.name in read]
        del new.graph.node[:], new.graph.initializer[:]
        new.graph.node.extend(self.nodes)
        new.graph.initializer.extend([*kept, *self.added.values()])
        return new


def _output_axis(node: onnx.NodeProto) -> int:
    """Return the axis of the output channels in a node's weights."""
    if node.op_type == "ConvTranspose":
        return 1
    is_turned = any(one.name == "transB" and one.i for one in node.attribute)
    return 1 if node.op_type == "Gemm" and not is_turned else 0
