"""The network's input: float32 (batch, channels, height, width), or pictures in another form."""

from collections.abc import Sequence

import onnx_ir as ir

from darkconv.backends.choices import BGR
from darkconv.backends.onnx.graph import Dims, GraphBuilder
from darkconv.backends.onnx.options import OnnxOptions
from darkconv.backends.onnx.scope import Scope
from darkconv.core.shape import Shape
from darkconv.errors import DarkconvError, UnsupportedError

INPUT = "input"
LEVELS = 255


def network_input(graph: GraphBuilder, shape: Shape) -> ir.Value:
    """Append the input of the graph, and return it as float32 NCHW, or (batch, inputs).

    Args:
        graph: graph that is being built.
        shape: input shape of the network.

    Returns:
        The value that the first layers read.

    Raises:
        UnsupportedError: the size is free, and the network takes no pictures.
        DarkconvError: the network takes no pictures of that kind.
    """
    check_input(graph.options, shape)
    options = graph.options
    if not options.has_channels_last:
        return graph.input(INPUT, input_dims(graph, shape))
    batch, channels, *size = input_dims(graph, shape)
    kind = ir.DataType.UINT8 if options.takes_levels else ir.DataType.FLOAT
    picture = graph.input(INPUT, [batch, *size, channels], kind)
    scope = Scope(graph, INPUT)
    x = scope.transpose(picture, 0, 3, 1, 2)
    return planes(scope, x, BGR[shape.c] if options.is_bgr else ()) if options.takes_levels else x


def check_input(options: OnnxOptions, shape: Shape) -> None:
    """Check that the options of the input are possible for a network.

    Args:
        options: options of the graph.
        shape: input shape of the network.

    Raises:
        UnsupportedError: the size is free, and the network takes no pictures.
        DarkconvError: NHWC for a network without pictures, or BGR for one of other than 3 or 4
            channels.
    """
    if options.has_free_size and not shape.is_map:
        raise UnsupportedError(
            "dynamic size", expected="a network for pictures", found=f"{shape} values"
        )
    what = f"input {options.input}"
    if options.has_channels_last and not shape.is_map:
        raise DarkconvError(
            what,
            expected="a network for pictures",
            found=f"{shape} values",
            hint="float32-nchw takes what Darknet takes",
        )
    if options.is_bgr and shape.c not in BGR:
        raise DarkconvError(
            what,
            expected="a network of 3 or 4 channels, whose order it says",
            found=str(shape),
            hint="uint8-nhwc takes the levels of any number of channels, grey ones too",
        )


def input_dims(graph: GraphBuilder, shape: Shape) -> Dims:
    """Return the lengths of the axes of the float32 NCHW input, free ones as names.

    Args:
        graph: graph that is being built.
        shape: input shape of the network.
    """
    if not shape.is_map:
        return [graph.batch, shape.size]
    size = ["height", "width"] if graph.options.has_free_size else shape[1:]
    return [graph.batch, shape.c, *size]


def planes(scope: Scope, levels: ir.Value, order: Sequence[int]) -> ir.Value:
    """Return levels (N, C, H, W) as float32 RGB in 0..1: each level is divided by 255.

    Args:
        scope: scope of the input.
        levels: uint8 values.
        order: index of each channel in the levels; empty where they are in order.
    """
    x = scope.op("Cast", levels, to=ir.DataType.FLOAT)
    if order:
        x = scope.op("Gather", x, scope.ints(*order), axis=1)
    return scope.op("Div", x, scope.floats(LEVELS))
