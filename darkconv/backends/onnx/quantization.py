"""8-bit files: where pairs of QuantizeLinear and DequantizeLinear are put, and their ranges.

The pairs are put around the operators that do most of a network's work, chosen layer by layer.
Heads, boxes and NMS stay in float32. So do the first convolutions of a large network, and the parts
of activations that 8 bits would spoil, such as the quotient in mish.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.onnx.calibration import observe
from darkconv.backends.onnx.digest import digests
from darkconv.backends.onnx.graph import plain_proto
from darkconv.backends.onnx.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.pairs import FORMS, SEVERAL, SYMMETRIC, WEIGHTED, with_pairs
from darkconv.backends.onnx.picture import INPUT
from darkconv.backends.onnx.running import make_session, told_failures
from darkconv.backends.onnx.writing import build_model
from darkconv.backends.ranges import (
    METHODS,
    PERCENTILE,
    RANGES,
    TRIED,
    Observed,
    Range,
    mean_error,
)
from darkconv.core.model import Array, Model, replace_arrays
from darkconv.core.network import Layer, Network
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.layers import conv, dense, merge
from darkconv.layers.precision import float_layers
from darkconv.surgery.equalising import equalise
from darkconv.surgery.folding import fold_batchnorm

OLDEST_OPSET = 13  # the first opset with a scale for each channel
EVERYWHERE = (
    "Conv", "ConvTranspose", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize",
    "Concat", "LeakyRelu", "Relu", "Clip",
)  # fmt: skip
OF_LAYERS = {"Add": merge.Shortcut, "Mul": merge.Gate}
"""Operators that are quantized only in layers of one kind, with that kind."""
WEIGHTED_LAYERS = (conv.Convolutional, conv.Deconvolutional, dense.Connected)
OF_ANY_HEAD = ("input", "dynamic", "opset")
"""Options that change a graph with any kind of outputs."""
JUDGES = 16
"""Largest number of inputs on which methods and layers are compared."""
ALL, CORRECTING, JUDGING = slice(None), slice(0, None, 2), slice(1, None, 2)
"""Parts of these inputs: biases are corrected on one half, and judged on the other."""
STEPS = 16
"""Largest number of steps in which the biases of a network are corrected."""

GraphInput = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Options of quantization.

    Attributes:
        method: calibration method. "mse": an activation's range is the one with the least mean
            square error of rounding and clipping; "percentile": the range holds all but the
            outermost 0.01 % of its values; "minmax": it holds all values; "entropy": it changes the
            distribution of the values least. None tries the first three, and takes the one with the
            least error at the outputs.
        reduce_range: weights in 7 bits, for x86 CPUs without VNNI, where sums of two products of 8
            bits can overflow.
        form: "asymmetric", which onnxruntime computes with, or "symmetric", which TensorRT reads.
    """

    method: str | None = None
    reduce_range: bool = False
    form: str = FORMS[0]

    def __post_init__(self) -> None:
        """Check the names of method and form."""
        if self.method not in (None, *METHODS):
            found = self.method
            raise DarkconvError("calibration method", expected=", ".join(METHODS), found=found)
        if self.form not in FORMS:
            raise DarkconvError("form of 8 bits", expected=", ".join(FORMS), found=self.form)


class Quantizer:
    """Builds 8-bit graphs of a model, with ranges from calibration inputs.

    Attributes:
        how: options of quantization.
        network: network of the model.
        pictures: number of calibration inputs.
        method: method by which the ranges are chosen.
        is_equalised: True if the channels of layers were scaled to similar ranges.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[GraphInput],
        how: Quantization | None = None,
        **options: Any,
    ) -> None:
        """Observe values, and choose ranges and scales of channels.

        Args:
            model: float32 model.
            inputs: calibration inputs that are like those in use, (1, ...) each, in the graph's
                kind of input. They are read one at a time; the few on which choices are compared
                are kept.
            how: options of quantization; None for the defaults.
            options: options of `to_onnx`.

        Raises:
            UnsupportedError: a graph with recurrent states, or too old an opset.
            DarkconvError: there are no inputs.
            MissingDependencyError: onnxruntime is not installed.
        """
        self.how = how or Quantization()
        self.network, self.pictures = model.network, len(inputs)
        self._original, self._options = model, options
        self._judged = {name: options[name] for name in OF_ANY_HEAD if name in options}
        self._model = fold_batchnorm(model)
        self._graph = graph_of(self._model, **self._judged)
        check_quantizable(self._graph, self.network)
        if not len(inputs):
            raise DarkconvError("8-bit numbers need pictures to be chosen by: there are none")
        self._slopes = leaky_slopes(self._graph)
        self._kept: list[GraphInput] = []
        self._seen = self._observed(self._graph, self._fed(inputs))
        self._wanted = list(self._results(self._graph, None))
        self.is_equalised = False
        self.method, error = self._best_method()
        self._equalise(inputs, error)

    def _fed(self, inputs: Sequence[GraphInput]) -> Iterator[dict[str, GraphInput]]:
        """Yield the graph's inputs by name, and keep some of them, evenly spread."""
        every = -(-len(inputs) // JUDGES)
        for place in range(len(inputs)):
            x = inputs[place]
            if place % every == 0 and place // every >= len(self._kept):
                self._kept.append(x)
            yield {INPUT: x}

    def _observed(
        self, graph: onnx.ModelProto, inputs: Iterable[Mapping[str, GraphInput]]
    ) -> dict[str, Observed]:
        nodes = set(quantized_nodes(graph, self.network))
        return observe(graph, values_around(graph, nodes), inputs)

    def _results(
        self, graph: onnx.ModelProto, names: Sequence[str] | None, some: slice = ALL
    ) -> Iterator[list[Array]]:
        """Yield the named values for the kept inputs; None stands for the graph's outputs."""
        shown = graph
        if names is not None:
            shown = onnx.ModelProto()
            shown.CopyFrom(graph)
            known = {value.name for value in graph.graph.output}
            more = (onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in known)
            shown.graph.output.extend(more)
        session = make_session(shown.SerializeToString())
        for x in self._kept[some]:
            with told_failures(None):
                yield session.run(names, {INPUT: x})

    def _ranges(self, method: str) -> dict[str, Range]:
        """Return the ranges of all values; before a leaky ReLU an error below zero counts less."""
        ranges = {name: RANGES[method](seen) for name, seen in self._seen.items()}
        if method == "mse":
            for name, slope in self._slopes.items():
                if name in self._seen:
                    ranges[name] = self._seen[name].mse(below=slope**2)
        return ranges

    def _rounded(
        self, graph: onnx.ModelProto, floats: Collection[int], method: str | None = None
    ) -> onnx.ModelProto:
        chosen = set(quantized_nodes(graph, self.network, floats))
        most = 63 if self.how.reduce_range else 127
        ranges = self._ranges(method or self.method)
        return with_pairs(graph, chosen, ranges, form=self.how.form, most=most)

    def _best_method(self) -> tuple[str, float]:
        methods = (self.how.method,) if self.how.method else TRIED
        errors = {one: self._error_of(self._rounded(self._graph, (), one)) for one in methods}
        best = min(errors, key=errors.__getitem__)
        return best, errors[best]

    def _error_of(self, graph: onnx.ModelProto, some: slice = ALL) -> float:
        """Return the relative absolute error of the outputs."""
        results = self._results(graph, None, some)
        return mean_error(zip(self._wanted[some], results, strict=True))

    def error(self, floats: Collection[int] = ()) -> float:
        """Return the relative absolute error of the outputs, before biases are corrected.

        Args:
            floats: indices of layers that stay in float32, besides those that always do.
        """
        return self._error_of(self._rounded(self._graph, floats))

    def _equalise(self, inputs: Sequence[GraphInput], error: float) -> None:
        """Scale channels if that lowers the error."""
        ranges = {
            layer.index: self._seen[layer.label].largest
            for layer in self.network.layers
            if layer.label in self._seen
        }
        before = self._model, self._graph, self._seen, self.method
        best, chosen = error, before
        for candidate in (equalise(before[0]), equalise(before[0], ranges)):
            if candidate is before[0]:
                continue
            self._model, self._graph = candidate, graph_of(candidate, **self._judged)
            self._seen = self._observed(self._graph, ({INPUT: x} for x in self._kept))
            self.method, found = self._best_method()
            if found < best:
                best, chosen = found, (self._model, self._graph, self._seen, self.method)
        self._model, self._graph, self._seen, self.method = chosen
        self.is_equalised = chosen is not before
        if self.is_equalised and len(inputs) > len(self._kept):
            self._seen = self._observed(self._graph, self._fed(inputs))

    def _corrected(self, floats: Collection[int]) -> Model:
        """Return the model with the mean rounding error subtracted from its biases, if that helps.

        The error of an early layer appears in later ones, so the correction goes from layer to
        layer. Whether it helps is measured on other inputs than those that the means are taken
        from, since on its own inputs a correction nearly always seems to help.
        """
        if len(self._kept) < 2:
            return self._model
        layers = self._with_biases
        step = -(-len(layers) // STEPS) or 1
        model = self._model
        for start in range(0, len(layers), step):
            some = layers[start : start + step]
            graph = self._rounded(graph_of(model, **self._judged), floats)
            biases = {}
            for layer, mean in zip(some, self._means(graph, some), strict=True):
                key = f"{layer.index}.biases"
                biases[key] = model.arrays[key] - (mean - self._right_means[layer.index])
            model = replace_arrays(model, biases)
        before, after = (
            self._error_of(self._rounded(graph, floats), JUDGING)
            for graph in (self._graph, graph_of(model, **self._judged))
        )
        return model if after < before else self._model

    @property
    def _with_biases(self) -> list[Layer]:
        """Return the convolutions in 8 bits that have biases."""
        return [
            layer
            for layer in self.network.layers
            if isinstance(layer.spec, conv.Convolutional)
            and f"{layer.index}.biases" in self._model.arrays
            and layer.label in self._seen
        ]

    @cached_property
    def _right_means(self) -> dict[int, Array]:
        """Return the means of their channels in float32, (channels,), by the layer's index."""
        layers = self._with_biases
        means = self._means(self._graph, layers)
        return {layer.index: mean for layer, mean in zip(layers, means, strict=True)}

    def _means(self, graph: onnx.ModelProto, layers: Sequence[Layer]) -> list[Array]:
        """Return the mean of each channel of each layer's output, (channels,)."""
        given = {name for node in graph.graph.node for name in node.output}
        names = [
            rounded if (rounded := f"{layer.label}/dequantized") in given else layer.label
            for layer in layers
        ]
        found = [
            [value.mean(axis=(0, 2, 3), dtype=np.float64) for value in values]
            for values in self._results(graph, names, CORRECTING)
        ]
        return [np.mean(column, axis=0) for column in zip(*found, strict=True)]

    def build(self, floats: Collection[int] = ()) -> onnx.ModelProto:
        """Return the 8-bit graph with the kind of outputs that the options name.

        Args:
            floats: indices of layers that stay in float32, besides those that always do.
        """
        original = graph_of(self._original, **self._options)
        for key, value in digests(self._original).items():
            original.metadata_props.add(key=key, value=value)
        model = self._corrected(floats)
        small = self._rounded(graph_of(model, **self._options), floats)
        found = self._facts(floats, is_corrected=model is not self._model)
        return with_facts(small, original, found)

    def _facts(self, floats: Collection[int], *, is_corrected: bool) -> Mapping[str, Any]:
        """Return the description of the quantization for the metadata."""
        bits = " of 7 bits" if self.how.reduce_range else ""
        is_signed = self.how.form == SYMMETRIC
        layers = sorted(float_layers(self.network) | set(floats))
        return {
            "calibration": f"percentile {PERCENTILE}"
            if self.method == "percentile"
            else self.method,
            "pictures": self.pictures,
            "activations": "int8 about zero" if is_signed else "uint8",
            "weights": f"int8{bits} per output channel",
            "equalised": self.is_equalised,
            "biases": "corrected" if is_corrected else "as they were",
            "float32": [self.network.layers[index].label for index in layers],
        }


def graph_of(model: Model, **options: Any) -> onnx.ModelProto:
    """Return the float32 graph of a model, without the digests of its files.

    Args:
        model: model to build.
        options: options of `to_onnx`.
    """
    return plain_proto(build_model(model, OnnxOptions(**options)))


def quantized(
    model: Model, inputs: Sequence[GraphInput], how: Quantization | None = None, **options: Any
) -> onnx.ModelProto:
    """Return the 8-bit graph of a model, with 8 bits in every layer that supports them.

    Args:
        model: float32 model.
        inputs: calibration inputs: see `Quantizer`.
        how: options of quantization; None for the defaults.
        options: options of `to_onnx`.

    Raises:
        UnsupportedError: a graph with recurrent states, or too old an opset.
        DarkconvError: there are no inputs.
        MissingDependencyError: onnxruntime is not installed.
    """
    return Quantizer(model, inputs, how, **options).build()


def check_quantizable(proto: onnx.ModelProto, network: Network) -> None:
    """Check that a graph can be quantized.

    Args:
        proto: float32 graph.
        network: network of the graph, for the message.

    Raises:
        UnsupportedError: the graph has recurrent states, or too old an opset.
    """
    if states(proto):
        raise UnsupportedError(
            f"{network.file}: recurrent layers are not quantised",
            hint="single pictures do not show which values a state takes",
        )
    opset = proto.opset_import[0].version
    if opset < OLDEST_OPSET:
        raise UnsupportedError(
            "opset of 8-bit graphs", expected=f"{OLDEST_OPSET} or later", found=opset
        )


def states(proto: onnx.ModelProto) -> set[str]:
    """Return the names of the inputs that are recurrent states.

    Args:
        proto: graph, with inputs for the picture, and perhaps for thresholds and states.
    """
    return {value.name for value in proto.graph.input} - {INPUT, SCORE_THRESHOLD, IOU_THRESHOLD}


def eight_bit_layers(network: Network, floats: Collection[int] = ()) -> set[int]:
    """Return the indices of the layers that compute in 8 bits.

    Layers with weights do, except those that stay in float32. Other layers do where all their
    inputs are in 8 bits.

    Args:
        network: network of the graph.
        floats: indices of layers that stay in float32, besides those that always do.
    """
    whole = float_layers(network) | set(floats)
    found: set[int] = set()
    for layer in network.layers:
        follows = all(source in found for source in layer.sources)
        if layer.index not in whole and (isinstance(layer.spec, WEIGHTED_LAYERS) or follows):
            found.add(layer.index)
    return found


def quantized_nodes(
    proto: onnx.ModelProto, network: Network, floats: Collection[int] = ()
) -> Iterator[str]:
    """Yield the names of the nodes that compute in 8 bits.

    Args:
        proto: float32 graph.
        network: network of the graph.
        floats: indices of layers that stay in float32, besides those that always do.

    Yields:
        Names in the order of the nodes.
    """
    layers = {network.layers[index].label: index for index in eight_bit_layers(network, floats)}
    arrays = {one.name for one in proto.graph.initializer}
    for node in proto.graph.node:
        index = layers.get(node.name.partition("/")[0])
        is_known = index is not None and is_quantized(node.op_type, network.layers[index])
        if is_known and (node.op_type not in WEIGHTED or node.input[1] in arrays):
            yield node.name


def is_quantized(kind: str, layer: Layer) -> bool:
    """Return True if an operator computes in 8 bits in a layer that does.

    Args:
        kind: operator type, such as "Add".
        layer: layer that the operator belongs to.
    """
    return kind in EVERYWHERE or isinstance(layer.spec, OF_LAYERS.get(kind, ()))


def values_around(proto: onnx.ModelProto, nodes: Collection[str]) -> list[str]:
    """Return the names of the inputs and outputs of some nodes, without constants.

    Args:
        proto: float32 graph.
        nodes: names of the nodes.
    """
    arrays = {one.name for one in proto.graph.initializer}
    names: dict[str, None] = {}
    for node in proto.graph.node:
        if node.name in nodes:
            read = node.input if node.op_type in SEVERAL else node.input[:1]
            names |= dict.fromkeys(name for name in [*read, *node.output] if name not in arrays)
    return list(names)


def leaky_slopes(proto: onnx.ModelProto) -> dict[str, float]:
    """Return the slopes below zero of leaky ReLUs, by the name of the value that each reads.

    Args:
        proto: float32 graph.
    """
    return {
        node.input[0]: next(one.f for one in node.attribute if one.name == "alpha")
        for node in proto.graph.node
        if node.op_type == "LeakyRelu"
    }


def with_facts(
    small: onnx.ModelProto, proto: onnx.ModelProto, found: Mapping[str, Any]
) -> onnx.ModelProto:
    """Return an 8-bit graph with its float32 graph's metadata and facts about the quantization.

    Args:
        small: 8-bit graph; it is changed.
        proto: float32 graph.
        found: description of the quantization, which JSON can hold.
    """
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata |= {"precision": "int8", "quantization": json.dumps(found)}
    onnx.helper.set_model_props(small, metadata)
    small.producer_name, small.producer_version = proto.producer_name, proto.producer_version
    return small
