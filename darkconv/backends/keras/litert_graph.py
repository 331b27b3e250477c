"""The graph of a LiteRT file, as TensorFlow's converter makes it, and its 8-bit quantization.

As in 8-bit ONNX files, the operators with most of the computation are quantized, with one scale for
each output channel of the weights. Heads and the decoding of boxes stay in float32, and so do the
parts of activations that lose too much in 8 bits, such as the logarithm in mish. LiteRT's 8-bit
convolutions have 8-bit outputs too, so those that the heads read stay in float32 as well.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from darkconv.backends.keras.litert_buffer import (
    Operator,
    builtin_codes,
    format_graph,
    operators,
    parse_graph,
)
from darkconv.backends.keras.network import INPUT, NetworkGraph
from darkconv.backends.quiet import quiet
from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.errors import UnsupportedError
from darkconv.files import no_room, scratch_folder
from darkconv.layers import merge
from darkconv.layers.precision import float_layers

EVERYWHERE = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "MAX_POOL_2D",
    "AVERAGE_POOL_2D", "MEAN", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION",
    "LEAKY_RELU", "RELU", "RELU6", "PAD", "PADV2", "RESHAPE", "TRANSPOSE", "EXPAND_DIMS", "TILE",
    "STRIDED_SLICE", "SLICE", "PACK",
}  # fmt: skip
OF_LAYERS = {"ADD": merge.Shortcut, "MUL": merge.Gate}
"""Operators that are quantized in layers of one kind alone."""


def converted(
    kmodel: keras.Model, precision: str, inputs: Sequence[Array], network: Network
) -> bytes:
    """Convert a Keras model to the bytes of a LiteRT graph.

    Args:
        kmodel: model with folded batch norm.
        precision: see `write_litert`.
        inputs: see `write_litert`.
        network: network that the model was built from.

    Raises:
        UnsupportedError: LiteRT does not have an operation.
    """
    import tensorflow as tf

    with scratch_folder() as folder, quiet():
        kmodel.export(folder, format="tf_saved_model", verbose=False)
        with told_failures(network):
            if precision == "int8":
                return _in_8_bits(folder, kmodel, inputs, network)
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
            if precision == "float16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            graph: bytes = converter.convert()
    return graph


def check_stateless(built: NetworkGraph) -> None:
    """Check that a graph has no recurrent state: calibration uses single pictures.

    Args:
        built: graph of the network.

    Raises:
        UnsupportedError: it has recurrent state.
    """
    if built.graph.states:
        raise UnsupportedError(
            f"{built.model.network.file}: recurrent layers are not quantised",
            hint="single pictures do not show which values a state takes",
        )


@contextmanager
def told_failures(network: Network) -> Iterator[None]:
    """Turn errors of the converter into UnsupportedError.

    Args:
        network: network that is converted, for the message.

    Yields:
        Nothing, while the converter runs.

    Raises:
        UnsupportedError: the converter raised an error.
    """
    try:
        yield
    except Exception as error:  # the converter's own exceptions have no common base
        if no_room(error):
            raise
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsupportedError(f"{network.file}: LiteRT cannot express it: {text}") from error


def _in_8_bits(
    folder: Path, kmodel: keras.Model, inputs: Sequence[Array], network: Network
) -> bytes:
    """Convert twice: to float32, which shows which operators there are, and to 8 bits."""
    import tensorflow as tf

    whole = tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert()
    kept = [one.name for one in float_operators(whole, network)]
    names = {part for name in kept for part in (name, *name.split(";"))}
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative(inputs, kmodel)
    experimental = tf.lite.experimental
    options = experimental.QuantizationDebugOptions(denylisted_nodes=sorted(names))
    debugger = experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return without_round_trips(debugger.get_nondebug_quantized_model())


def without_round_trips(graph: bytes) -> bytes:
    """Return a graph in which no float32 value is converted to 8 bits and back to float32.

    The converter rounds the results of a sigmoid to 256 steps although it computes them in float32:
    a score below 1/512 would be 0.

    Args:
        graph: bytes of a flatbuffer that the converter quantized.
    """
    model, codes = parse_graph(graph), builtin_codes()
    main = model.subgraphs[0]
    kinds = [code.builtinCode for code in model.operatorCodes]
    quantize, dequantize = (
        {one.outputs[0]: one for one in main.operators if kinds[one.opcodeIndex] == kind}
        for kind in (codes["QUANTIZE"], codes["DEQUANTIZE"])
    )
    origins = {
        back: quantize[one.inputs[0]].inputs[0]
        for back, one in dequantize.items()
        if one.inputs[0] in quantize
    }
    origins = {
        back: first
        for back, first in origins.items()
        if main.tensors[first].type == main.tensors[back].type
    }
    for one in main.operators:
        one.inputs = [origins.get(tensor, tensor) for tensor in one.inputs]
    main.outputs = [origins.get(tensor, tensor) for tensor in main.outputs]
    for signature in model.signatureDefs:
        for output in signature.outputs:
            output.tensorIndex = origins.get(output.tensorIndex, output.tensorIndex)
    read = {tensor for one in main.operators for tensor in one.inputs} | set(main.outputs)
    main.operators = [
        one for one in main.operators if one.outputs[0] in read or one.outputs[0] not in origins
    ]
    read = {tensor for one in main.operators for tensor in one.inputs} | set(main.outputs)
    main.operators = [
        one for one in main.operators if one.outputs[0] in read or one.outputs[0] not in quantize
    ]
    return format_graph(model)


def float_operators(graph: bytes, network: Network) -> list[Operator]:
    """Return the operators that stay in float32.

    Args:
        graph: bytes of the float32 graph's flatbuffer.
        network: network that it computes.
    """
    whole = float_layers(network) | {head.sources[0] for head in network.heads}
    wanted: set[int] = set()  # indices of tensors that operators of layers need
    found = []
    for one in reversed(operators(graph)):
        if one.layer is not None or one.gives & wanted:
            wanted |= one.reads
            if one.layer not in whole and is_quantized(one, network):
                continue
        found.append(one)
    return found


def is_quantized(one: Operator, network: Network) -> bool:
    """Return True if an operator is quantized in a layer that is.

    Args:
        one: operator of the graph.
        network: network that the graph computes.
    """
    if one.kind in EVERYWHERE:
        return True
    return one.layer is not None and isinstance(
        network.layers[one.layer].spec, OF_LAYERS.get(one.kind, ())
    )


def representative(
    inputs: Sequence[Array], kmodel: keras.Model
) -> Callable[[], Iterator[dict[str, Array]]]:
    """Return the calibration inputs as TensorFlow's converter expects them, with zeros as state.

    Args:
        inputs: calibration inputs, (C, H, W) or (values,) each.
        kmodel: model whose inputs they are.
    """
    shapes = {tensor.name: tensor.shape[1:] for tensor in kmodel.inputs}

    def examples() -> Iterator[dict[str, Array]]:
        for x in inputs:
            zeros = {name: np.zeros((1, *axes), np.float32) for name, axes in shapes.items()}
            yield {**zeros, INPUT: channels_last(x[None])}

    return examples


def channels_last(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert a batch from NCHW to NHWC.

    Args:
        x: (N, C, H, W); of another number of axes it is returned as it is.

    Returns:
        An array (N, H, W, C), contiguous in memory.
    """
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x
