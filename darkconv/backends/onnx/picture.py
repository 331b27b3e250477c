"""The network's input: float32 (batch, channels, height, width), or 8-bit levels as they come."""

import onnx_ir as ir

from darkconv.backends.onnx.graph import Dims, GraphBuilder
from darkconv.backends.onnx.scope import Scope
from darkconv.core.shape import Shape
from darkconv.errors import DarkconvError

INPUT = "input"
LEVELS = 255


def network_input(graph: GraphBuilder, shape: Shape) -> ir.Value:
    """Append the input of the graph and what makes float32 planes of it.

    Raises:
        DarkconvError: the network takes no pictures of that kind.
    """
    if not graph.options.takes_levels:
        return graph.input(INPUT, input_dims(graph, shape))
    if not shape.is_map or shape.c not in (1, 3):
        raise DarkconvError(
            f"input {graph.options.input}", expected="a network for pictures", found=str(shape)
        )
    batch, channels, *size = input_dims(graph, shape)
    levels = graph.input(INPUT, [batch, *size, channels], ir.DataType.UINT8)
    return planes(Scope(graph, INPUT), levels, is_bgr=graph.options.input.endswith("bgr"))


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
        x = scope.op("Gather", x, scope.ints(2, 1, 0), axis=1)
    return scope.op("Div", x, scope.floats(LEVELS))
