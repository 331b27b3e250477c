"""The network's input: float32 (batch, channels, height, width), or 8-bit levels as they come."""

import onnx_ir as ir

from darkconv.backends.onnx.graph import Dims, GraphBuilder
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.scope import Scope
from darkconv.core.shape import Shape
from darkconv.errors import DarkconvError, UnsupportedError

INPUT = "input"
LEVELS = 255
CHANNELS = (1, 3)  # of pictures that darkconv reads
BGR = (2, 1, 0)  # where red, green and blue are


def network_input(graph: GraphBuilder, shape: Shape) -> ir.Value:
    """Append the input of the graph and what makes float32 planes of it.

    Raises:
        DarkconvError: the network takes no pictures of that kind.
    """
    check_input(graph.options, shape)
    if not graph.options.takes_levels:
        return graph.input(INPUT, input_dims(graph, shape))
    batch, channels, *size = input_dims(graph, shape)
    levels = graph.input(INPUT, [batch, *size, channels], ir.DataType.UINT8)
    return planes(Scope(graph, INPUT), levels, is_bgr=graph.options.is_bgr)


def check_input(options: OnnxOptions, shape: Shape) -> None:
    """Check that the kind of input, and what is free of it, mean something for a network.

    Raises:
        UnsupportedError: the size of what has none is to be free.
        DarkconvError: levels of what is no picture.
    """
    if options.has_free_size and not shape.is_map:
        raise UnsupportedError(
            "dynamic size", expected="a network for pictures", found=f"{shape} values"
        )
    what = f"input {options.input}"
    if options.takes_levels and (not shape.is_map or shape.c not in CHANNELS):
        raise DarkconvError(
            what,
            expected="a network for pictures",
            found=str(shape),
            hint="levels are of 1 or 3 channels; float32-nchw takes what Darknet takes",
        )
    if options.is_bgr and shape.c != len(BGR):
        raise DarkconvError(
            what,
            expected="a network of 3 channels, whose order it says",
            found=str(shape),
            hint="uint8-nhwc takes grey levels",
        )


def input_dims(graph: GraphBuilder, shape: Shape) -> Dims:
    """Lengths of the axes of the float32 input, free ones by name."""
    if not shape.is_map:
        return [graph.batch, shape.size]
    size = ["height", "width"] if graph.options.has_free_size else shape[1:]
    return [graph.batch, shape.c, *size]


def planes(scope: Scope, levels: ir.Value, *, is_bgr: bool) -> ir.Value:
    """(N, H, W, C) levels -> (N, C, H, W) RGB in 0..1, as float division by 255 gives it."""
    x = scope.transpose(levels, 0, 3, 1, 2)
    x = scope.op("Cast", x, to=ir.DataType.FLOAT)
    if is_bgr:
        x = scope.op("Gather", x, scope.ints(*BGR), axis=1)
    return scope.op("Div", x, scope.floats(LEVELS))
