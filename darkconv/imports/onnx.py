"""ONNX files of other exporters: convolutions and matrix products in the order of the graph."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.files import PathLike
from darkconv.imports.found import Checkpoint, FoundArray, LayerArray, Unit
from darkconv.imports.torch_names import NAMINGS, NUMBERS, joined
from darkconv.libraries import telling_missing

TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}
TYPES |= {11: "float64", 16: "bfloat16"}
"""The dtypes by ONNX's codes."""
EPSILON = 1e-5
"""The default epsilon of BatchNormalization."""
PASSING = {"Identity", "Cast", "Transpose"}
"""The operators that may stand between a weight and its layer."""
QUANTISED = {"DequantizeLinear", "QLinearConv", "ConvInteger", "QLinearMatMul"}
NUMBERED = re.compile(r"^(\d{3,})_[a-z]")
"""The node names of darkconv, and of tensorrt_demos' yolo_to_onnx, which counts [net] as 000."""
OURS = "darkconv"
DEMOS = "_conv_weights"
"""The end of the weights' names in files of tensorrt_demos."""
NORM = ("scales", "biases", "rolling_mean", "rolling_variance")
"""The inputs of a BatchNormalization after the first, in order."""


def open_onnx(path: PathLike) -> Checkpoint:
    """Return the layers of an ONNX file.

    Args:
        path: the .onnx file; large weights may lie in files beside it.

    Raises:
        WeightsError: the file is damaged, or its weights are quantised to 8 bits.
        MissingDependencyError: onnx is not installed.
    """
    file = os.fspath(path)
    with telling_missing("reading ONNX files"):
        from darkconv.backends.onnx.graph_file import read_graph
    try:
        graph = OnnxGraph(read_graph(path).graph, file)
    except DarkconvError as error:
        raise WeightsError(error.told, where=error.where, hint=error.hint) from error
    units = list(graph.units())
    units, tool, rule = _numbered(units)
    taken = {part.found.name for unit in units for part in unit.parts.values()}
    spare = [n for n, one in graph.initializers.items() if len(one.dims) and n not in taken]
    floats = [name for name in spare if graph.initializers[name].data_type in (1, 10, 11)]
    return Checkpoint(
        file,
        "an ONNX file",
        tool,
        tuple(units),
        rule,
        spare=tuple(floats),
        is_runnable=True,
        adds_under_root=tool != OURS,
    )


def _numbered(units: list[Unit]) -> tuple[list[Unit], str, str]:
    """Return the layers with their names' numbers, the tool that wrote these, and the rule."""
    weights = [unit.parts["weights"].found.name for unit in units if "weights" in unit.parts]
    names = [NUMBERED.match(unit.name) for unit in units]
    if units and all(names):
        is_demo = bool(weights) and all(name.endswith(DEMOS) for name in weights)
        numbers = [int(found[1]) - is_demo for found in names if found]
        tool = "tensorrt_demos' yolo_to_onnx" if is_demo else OURS
        pairs = zip(units, numbers, strict=True)
        return [replace(unit, index=number) for unit, number in pairs], tool, NUMBERS
    for naming in NAMINGS:
        if weights and all(re.search(naming.pattern, name) for name in weights):
            return units, naming.tool, "order"
    return units, "", "order"


class OnnxGraph:
    """The weights of a graph, and the nodes that use them.

    Attributes:
        initializers: the arrays of the file, and the values of Constant nodes, by name.
    """

    def __init__(self, graph: Any, file: str) -> None:
        """Index the nodes by the values that they compute and read."""
        self.file = file
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._nodes = list(graph.node)
        self._makers: dict[str, Any] = {}
        self._readers: dict[str, list[Any]] = {}
        for node in self._nodes:
            self._makers |= {name: node for name in node.output if name}
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
            if node.op_type == "Constant":
                values = [one.t for one in node.attribute if one.name == "value"]
                self.initializers |= dict(zip(node.output, values, strict=False))

    def units(self) -> Iterator[Unit]:
        """Yield the layers in the order of the graph.

        Raises:
            WeightsError: the weights are quantised to 8 bits.
        """
        used: set[int] = set()
        for node in self._nodes:
            if node.op_type in QUANTISED:
                raise WeightsError(
                    "has weights in 8 bits, which were rounded",
                    where=Where(file=self.file),
                    hint="import the file from before it was quantised",
                )
            unit = self._unit(node)
            if unit is None or id(node) in used:
                continue
            norm = None if unit.is_norm_alone else self._norm_behind(node)
            if norm is not None:
                used.add(id(norm))
                batch = self._norm(norm)
                unit = joined(unit, batch) if batch is not None else unit
            yield unit

    def _unit(self, node: Any) -> Unit | None:
        """Return the layer that a node is, None if it has no weights."""
        if node.op_type in ("Conv", "ConvTranspose"):
            return self._made(node, {"weights": self._part(node, 1), "biases": self._part(node, 2)})
        if node.op_type == "Gemm":
            order = () if _attribute(node, "transB", 0) else (1, 0)
            parts = {"weights": self._part(node, 1, order), "biases": self._part(node, 2)}
            return self._made(node, parts)
        if node.op_type == "MatMul":
            weights = self._part(node, 1, (1, 0))
            if weights is None or len(weights.found.shape) != 2:
                return None
            return self._made(node, {"weights": weights, "biases": self._added(node)})
        return self._norm(node) if node.op_type == "BatchNormalization" else None

    def _made(self, node: Any, parts: Mapping[str, LayerArray | None]) -> Unit | None:
        if parts["weights"] is None:
            return None
        name = node.name or parts["weights"].found.name
        return Unit(name, {word: part for word, part in parts.items() if part is not None})

    def _norm(self, node: Any) -> Unit | None:
        parts = {word: self._part(node, i) for i, word in enumerate(NORM, 1)}
        known = {word: part for word, part in parts.items() if part is not None}
        if len(known) < len(NORM):
            return None
        epsilon = float(_attribute(node, "epsilon", EPSILON))
        # the attribute is a float32, in which 1e-5 is another number
        return Unit(node.name or node.output[0], known, epsilon=float(f"{epsilon:.6g}"))

    def _norm_behind(self, node: Any) -> Any:
        """Return the BatchNormalization that alone reads a node's output."""
        readers = self._readers.get(node.output[0], [])
        if len(readers) != 1 or readers[0].op_type != "BatchNormalization":
            return None
        return readers[0]

    def _added(self, node: Any) -> LayerArray | None:
        """Return the biases that are added to a matrix product."""
        readers = self._readers.get(node.output[0], [])
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        parts = (self._part(readers[0], i) for i in (0, 1))
        return next((part for part in parts if part is not None), None)

    def _part(self, node: Any, place: int, order: tuple[int, ...] = ()) -> LayerArray | None:
        """Return an input of a node that is an array of the file."""
        name = node.input[place] if place < len(node.input) else ""
        for _ in range(len(PASSING)):
            maker = self._makers.get(name)
            if name in self.initializers or maker is None or maker.op_type not in PASSING:
                break
            if maker.op_type == "Transpose":
                turn = tuple(_attribute(maker, "perm", ()))
                order = tuple(turn[axis] for axis in order) if order and turn else turn
            name = maker.input[0]
        tensor = self.initializers.get(name)
        if tensor is None:
            return None
        kind = TYPES.get(tensor.data_type, f"type {tensor.data_type}")
        read = partial(_values, tensor, self.file)
        return LayerArray(FoundArray(name, tuple(tensor.dims), kind, read), order)


def _attribute(node: Any, name: str, otherwise: Any) -> Any:
    from onnx import helper

    found = [one for one in node.attribute if one.name == name]
    return helper.get_attribute_value(found[0]) if found else otherwise


def _values(tensor: Any, file: str) -> Any:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor, os.path.dirname(os.path.abspath(file)))
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise WeightsError(
            "its values are damaged", where=Where(file=file, option=tensor.name)
        ) from error
