"""The operators that small devices support, as their makers publish them, and those of a graph."""

import logging
from collections import Counter
from collections.abc import Mapping

from darkconv.backends.keras.litert_buffer import operators_of, parse_graph

logger = logging.getLogger("darkconv")

EDGE_TPU = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS",
    "FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "LSTM", "MAXIMUM", "MAX_POOL_2D", "MEAN",
    "MINIMUM", "MUL", "PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU",
    "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT",
    "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
})  # fmt: skip
"""Table 1 of https://coral.ai/docs/edgetpu/models-intro/."""
GPU = frozenset({
    "ABS", "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CAST", "CONCATENATION", "CONV_2D", "COS",
    "DENSIFY", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL",
    "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GREATER", "GREATER_EQUAL",
    "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGISTIC", "LSTM", "MAXIMUM",
    "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL", "PACK", "PAD",
    "POW", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6",
    "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SIN",
    "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE",
    "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TRANSPOSE",
    "TRANSPOSE_CONV",
})  # fmt: skip
"""The parsers in tensorflow/lite/delegates/gpu/common/model_builder.cc of TensorFlow."""
MICRO = frozenset({
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "CAST",
    "CEIL", "CONCATENATION", "CONV_2D", "COS", "CUMSUM", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE",
    "DEQUANTIZE", "ELU", "EQUAL", "EXP", "EXPAND_DIMS", "FILL", "FLOOR", "FLOOR_DIV", "FLOOR_MOD",
    "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "IF",
    "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
    "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL",
    "NEG", "NOT_EQUAL", "PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "REDUCE_MAX", "RELU", "RELU6",
    "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "ROUND", "RSQRT", "SHAPE", "SIN",
    "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE",
    "SQUEEZE", "STRIDED_SLICE", "SUB", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
})  # fmt: skip
"""tensorflow/lite/micro/micro_mutable_op_resolver.h of tflite-micro, with operators up to 2022."""
DEVICES: Mapping[str, frozenset[str]] = {
    "Edge TPU": EDGE_TPU,
    "GPU delegate": GPU,
    "TFLite Micro": MICRO,
}
MOST_AXES = 4
"""Largest number of axes of a value on accelerators."""


def untaken(graph: bytes) -> dict[str, list[str]]:
    """Return the needs of a graph that each device does not support: kinds of operators, and axes.

    Args:
        graph: bytes of the flatbuffer.

    Returns:
        Texts by the name of the device; a device that supports everything is left out.
    """
    model = parse_graph(graph)
    used, main = operators_of(model), model.subgraphs[0]
    given = {place for one in used for place in one.gives}
    axes = max(len(main.tensors[place].shape) for place in given)
    wide = [f"values of {axes} axes"] if axes > MOST_AXES else []
    kinds = Counter(one.kind for one in used)
    found = {
        device: [f"{kind} ({kinds[kind]})" for kind in sorted(kinds.keys() - known)] + wide
        for device, known in DEVICES.items()
    }
    return {device: missing for device, missing in found.items() if missing}


def tell_of_others(graph: bytes, file: str) -> None:
    """Warn of operators that a device does not support: they, or all that follow, run elsewhere.

    Args:
        graph: bytes of an integer graph's flatbuffer.
        file: name of the file, for messages.
    """
    for device, missing in untaken(graph).items():
        logger.warning("%s: not among the operators of %s: %s", file, device, ", ".join(missing))
