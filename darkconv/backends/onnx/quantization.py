"""8-bit files: static quantisation by onnxruntime's own tools.

Pairs of QuantizeLinear and DequantizeLinear are put around the operators that carry the weight of
a network, with one scale per output channel of the weights. What they are around is chosen by
the layer: heads, boxes and suppression stay in float32, and so do the first convolutions of a
large network, and the parts of activations that 8 bits would spoil, such as the quotient in mish.
"""

import contextlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from darkconv.backends.onnx.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from darkconv.backends.onnx.picture import INPUT
from darkconv.backends.onnx.writing import Trial
from darkconv.core.network import Layer, Network
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.files import PathLike, scratch_folder, write_together
from darkconv.layers import merge
from darkconv.layers.precision import float_layers
from darkconv.libraries import telling_missing

METHODS = ("percentile", "minmax", "entropy")
PERCENTILE = 99.99  # docs/onnx.md has the measurements
OLDEST_OPSET = 13  # the first with a scale per channel
EVERYWHERE = (
    "Conv", "ConvTranspose", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize",
    "Concat", "LeakyRelu", "Relu", "Clip",
)  # fmt: skip
OF_LAYERS = {"Add": merge.Shortcut, "Mul": merge.Gate}
"""Operators that are quantised in layers of one kind alone."""

GraphInput = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How 8-bit numbers are chosen.

    Attributes:
        method: "percentile": all but the outermost 0.01 % of an activation's values are within
            its range; "minmax": all are; "entropy": the range that changes the values'
            distribution least.
        reduce_range: weights in 7 bits, for x86 CPUs without VNNI, where sums of two products of
            8 bits can overflow.
    """

    method: str = METHODS[0]
    reduce_range: bool = False

    def __post_init__(self) -> None:
        """Check the name."""
        if self.method not in METHODS:
            found = self.method
            raise DarkconvError("calibration method", expected=", ".join(METHODS), found=found)


def quantized(
    proto: onnx.ModelProto,
    network: Network,
    inputs: Sequence[GraphInput],
    how: Quantization | None = None,
) -> onnx.ModelProto:
    """The 8-bit form of a float32 graph.

    Args:
        proto: of `to_onnx`.
        network: that it was built from.
        inputs: what the graph is likely to see, (1, ...) each, as it takes them. They are asked
            for one at a time, and not kept.
        how: by default percentiles and whole bytes.

    Raises:
        UnsupportedError: a graph that has states, or too old an opset.
        DarkconvError: no inputs.
        MissingDependencyError: onnxruntime is not installed.
    """
    how = how or Quantization()
    check_quantizable(proto, network)
    if not len(inputs):
        raise DarkconvError("8-bit numbers need pictures to be chosen by: there are none")
    with scratch_folder() as folder:
        small = _quantized_file(proto, network, Inputs(proto, inputs), how, folder)
    return with_facts(small, proto, network, facts(how, len(inputs), network))


def quantize_file(
    source: PathLike,
    target: PathLike,
    network: Network,
    inputs: Sequence[GraphInput],
    how: Quantization | None = None,
    *,
    check: bool = True,
) -> None:
    """Write the 8-bit form of a float32 file.

    Args:
        source: the float32 file.
        target: the 8-bit file.
        network: see `quantized`.
        inputs: see `quantized`.
        how: see `quantized`.
        check: run the file once before it takes its name.

    Raises:
        DarkconvError: as for `quantized`, or the file cannot be written or does not run.
    """
    proto = quantized(onnx.load(source), network, inputs, how)
    path = Path(target)
    trial = Trial(path, network) if check else None
    write_together({path: [proto.SerializeToString()]}, check=trial)


def check_quantizable(proto: onnx.ModelProto, network: Network) -> None:
    """Check what 8-bit graphs cannot have.

    Raises:
        UnsupportedError: states, or too old an opset.
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
    """Names of inputs that are neither the network's nor thresholds."""
    return {value.name for value in proto.graph.input} - {INPUT, SCORE_THRESHOLD, IOU_THRESHOLD}


EVERY_CLASS: dict[int, tuple[str, npt.NDArray[Any]]] = {
    2: ("calibration/boxes", np.array([1], np.int64)),
    4: ("calibration/score", np.array([np.finfo(np.float32).min], np.float32)),
}
"""Inputs of NonMaxSuppression, by place, that leave one box of each class."""


class Inputs:
    """A calibration data reader of onnxruntime: one input after the other.

    Its calibrators keep what all values of a call are; so that memory is that of one picture,
    they are given each in a call of its own.
    """

    def __init__(self, proto: onnx.ModelProto, inputs: Sequence[GraphInput]) -> None:
        self._inputs = inputs
        names = {value.name for value in proto.graph.input} - {INPUT}
        self._thresholds = {name: np.array([0.5], np.float32) for name in names}
        self._next = iter(range(len(inputs)))

    def __len__(self) -> int:
        return len(self._inputs)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give these in what follows."""
        self._next = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, GraphInput] | None:
        """The next, None behind the last."""
        place = next(self._next, None)
        return None if place is None else {INPUT: self._inputs[place], **self._thresholds}


def _quantized_file(
    proto: onnx.ModelProto, network: Network, reader: Inputs, how: Quantization, folder: Path
) -> onnx.ModelProto:
    """Call onnxruntime's tools, which go from file to file and print what they do."""
    tools = quantization_tools()
    whole, ready, small = (str(folder / name) for name in ("whole", "ready", "small"))
    onnx.save(with_something_found(proto), whole)
    with contextlib.redirect_stdout(io.StringIO()):
        tools.quant_pre_process(whole, ready, skip_optimization=True, skip_symbolic_shape=True)
        tools.quantize_static(
            ready,
            small,
            reader,
            quant_format=tools.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=how.reduce_range,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            nodes_to_quantize=list(quantized_nodes(proto, network)),
            calibrate_method={
                "percentile": tools.CalibrationMethod.Percentile,
                "minmax": tools.CalibrationMethod.MinMax,
                "entropy": tools.CalibrationMethod.Entropy,
            }[how.method],
            extra_options={"CalibStridedMinMax": 1, "CalibPercentile": PERCENTILE},
        )
    return with_own_suppression(onnx.load(small), proto)


def with_something_found(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph, its suppression leaving the best box of each class, however low its score.

    The tools fail on a tensor of no values, which is what is left where nothing is found.
    """
    if not any(suppressions(proto)):
        return proto
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for name, value in EVERY_CLASS.values():
        changed.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    for node in suppressions(changed):
        for place, (name, _) in EVERY_CLASS.items():
            node.input[place] = name
    read = {name for node in changed.graph.node for name in node.input}
    kept = [one for one in changed.graph.initializer if one.name in read]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    return changed


def with_own_suppression(small: onnx.ModelProto, proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the small graph with the limits of suppression that the large one has."""
    own = {node.name: node.input for node in suppressions(proto)}
    if not own:
        return small
    for node in suppressions(small):
        for place in EVERY_CLASS:
            node.input[place] = own[node.name][place]
    ours = {name for name, _ in EVERY_CLASS.values()}
    kept = [one for one in small.graph.initializer if one.name not in ours]
    known = {one.name for one in kept}
    used = {name for node in suppressions(small) for name in node.input} - known
    kept += [one for one in proto.graph.initializer if one.name in used]
    del small.graph.initializer[:]
    small.graph.initializer.extend(kept)
    return small


def suppressions(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes that suppress boxes."""
    return (node for node in proto.graph.node if node.op_type == "NonMaxSuppression")


def quantization_tools() -> Any:
    """The module of onnxruntime.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
    """
    with telling_missing("8-bit ONNX files", extra="onnx"):
        import onnxruntime.quantization
    return onnxruntime.quantization


def quantized_nodes(proto: onnx.ModelProto, network: Network) -> Iterator[str]:
    """Names of the nodes that compute in 8 bits."""
    whole = float_layers(network)
    layers = {layer.label: layer for layer in network.layers if layer.index not in whole}
    for node in proto.graph.node:
        layer = layers.get(node.name.partition("/")[0])
        if layer and is_quantized(node.op_type, layer):
            yield node.name


def is_quantized(kind: str, layer: Layer) -> bool:
    """Whether operators of a kind compute in 8 bits in a layer that does."""
    return kind in EVERYWHERE or isinstance(layer.spec, OF_LAYERS.get(kind, ()))


def facts(how: Quantization, pictures: int, network: Network) -> Mapping[str, Any]:
    """What the file says about its numbers."""
    return {
        "calibration": f"percentile {PERCENTILE}" if how.method == "percentile" else how.method,
        "pictures": pictures,
        "activations": "uint8",
        "weights": f"int8{' of 7 bits' if how.reduce_range else ''} per output channel",
        "float32": [network.layers[index].label for index in sorted(float_layers(network))],
    }


def with_facts(
    small: onnx.ModelProto, proto: onnx.ModelProto, network: Network, found: Mapping[str, Any]
) -> onnx.ModelProto:
    """The small graph with the large one's metadata, and what is new."""
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    metadata |= {"precision": "int8", "quantization": json.dumps(found)}
    onnx.helper.set_model_props(small, metadata)
    small.producer_name, small.producer_version = proto.producer_name, proto.producer_version
    return small
