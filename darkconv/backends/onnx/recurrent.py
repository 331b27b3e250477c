"""Builders of rnn, gru, lstm, crnn and conv_lstm layers, whose states are inputs and outputs.

The state of layer 3 is the input `003_lstm.h_in` and the output `003_lstm.h_out`. It is zero at the
first call, and then the output of the last call.
"""

import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.conv import build_convolutional
from darkconv.backends.onnx.dense import connected
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.core.shape import FlatShape, Shape
from darkconv.layers import conv, dense, recurrent
from darkconv.layers.inner import inner_layer


class SubLayers:
    """The sub-layers of a recurrent layer, which are built by name.

    Attributes:
        scope: scope of the recurrent layer.
        by_name: specs and input shapes of the sub-layers, by name.
    """

    def __init__(self, scope: LayerScope) -> None:
        spec = scope.layer.spec
        assert isinstance(spec, recurrent.Recurrent)
        self.scope = scope
        self.by_name = {sub.name: sub for sub in spec.sublayers(scope.layer.in_shapes)}

    def shape(self, name: str) -> Shape:
        """Return the output shape of a sub-layer; a vector after a connected one.

        Args:
            name: name of the sub-layer, such as "input_layer".
        """
        _, spec, in_shape = self.by_name[name]
        out = spec.infer_shape((in_shape,))
        return FlatShape.of(out.c) if isinstance(spec, dense.Connected) else out

    def __call__(self, name: str, x: ir.Value) -> ir.Value:
        """Build a sub-layer with an input, and return its output.

        Args:
            name: name of the sub-layer.
            x: input of the sub-layer, (batch, ...).
        """
        _, spec, in_shape = self.by_name[name]
        scope = self.scope.inner(name, inner_layer(self.scope.layer, spec, in_shape), x)
        if isinstance(spec, dense.Connected):
            return connected(scope, spec)
        assert isinstance(spec, conv.Convolutional)
        return build_convolutional(scope)


@BUILDERS.register(recurrent.Rnn, recurrent.Crnn)
def build_elman(scope: LayerScope) -> ir.Value:
    """Build an rnn or crnn layer: h' = input(x) + self(h) (+ h), y = output(h').

    `darkconv.layers.recurrent.Rnn` describes it.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, (recurrent.Rnn, recurrent.Crnn))
    sub = SubLayers(scope)
    shape, reader = sub.shape("input_layer"), sub.by_name["input_layer"].in_shape
    hidden = scope.state("h", shape)
    is_turned = isinstance(spec, recurrent.Crnn) and reader != scope.layer.in_shapes[0]
    x = scope.reshape(scope.x, 0, *reader) if is_turned else scope.x
    new = scope.op("Add", sub("input_layer", x), sub("self_layer", hidden))
    if spec.shortcut:
        new = scope.op("Add", new, hidden)
    scope.keep("h", new, shape)
    return shaped(scope, sub("output_layer", new), sub.shape("output_layer"))


@BUILDERS.register(recurrent.Gru)
def build_gru(scope: LayerScope) -> ir.Value:
    """Build a gru layer, which `darkconv.layers.recurrent.Gru` describes.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, recurrent.Gru)
    sub, shape = SubLayers(scope), FlatShape.of(spec.output)
    hidden = scope.state("h", shape)

    def gate(name: str, state: ir.Value) -> ir.Value:
        on_input = sub(spec.input_names[name], scope.x)
        return scope.op("Add", on_input, sub(spec.state_names[name], state))

    update = scope.op("Sigmoid", gate("z", hidden))
    reset = scope.op("Sigmoid", gate("r", hidden))
    raw = gate("h", scope.op("Mul", reset, hidden))
    candidate = scope.op("Tanh" if spec.tanh else "Sigmoid", raw)
    rest = scope.op("Sub", scope.floats(1), update)
    new = scope.op("Add", scope.op("Mul", update, hidden), scope.op("Mul", rest, candidate))
    scope.keep("h", new, shape)
    return shaped(scope, new, shape)


@BUILDERS.register(recurrent.Lstm)
def build_lstm(scope: LayerScope) -> ir.Value:
    """Build an lstm layer, which `darkconv.layers.recurrent.Lstm` describes.

    Args:
        scope: scope of the layer.
    """
    sub, shape = SubLayers(scope), FlatShape.of(scope.layer.out_shape.c)
    hidden, cell = scope.state("h", shape), scope.state("c", shape)
    f, i, g, o = (
        scope.op("Add", sub(f"u{gate}", scope.x), sub(f"w{gate}", hidden)) for gate in "figo"
    )
    cell = next_cell(scope, cell, scope.op("Sigmoid", f), scope.op("Sigmoid", i), g, "tanh")
    new = scope.op("Mul", scope.op("Sigmoid", o), scope.op("Tanh", cell))
    scope.keep("h", new, shape)
    scope.keep("c", cell, shape)
    return shaped(scope, new, shape)


def next_cell(
    scope: LayerScope, cell: ir.Value, f: ir.Value, i: ir.Value, g: ir.Value, function: str
) -> ir.Value:
    """Return the new cell state: f c + i act(g).

    Args:
        scope: scope of the layer.
        cell: old cell state c.
        f: forget gate, in 0..1.
        i: input gate, in 0..1.
        g: candidate before its activation.
        function: Darknet's name of the activation.
    """
    entering = scope.op("Mul", i, activate(scope, g, function))
    return scope.op("Add", scope.op("Mul", f, cell), entering)


@BUILDERS.register(recurrent.ConvLstm)
def build_conv_lstm(scope: LayerScope) -> ir.Value:
    """Build a conv_lstm layer by the equations of its spec.

    The cell is clamped only for the next step.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, recurrent.ConvLstm)
    sub, shape = SubLayers(scope), scope.layer.out_shape
    hidden, cell = scope.state("h", shape), scope.state("c", shape)
    function = spec.lstm_activation if spec.bottleneck else "tanh"
    x = scope.x
    if spec.bottleneck:
        x = activate(scope, sub("wf", scope.concat([hidden, x])), function)

    def gate(name: str) -> ir.Value:
        on_input = sub(f"u{name}", x)
        return on_input if spec.bottleneck else scope.op("Add", sub(f"w{name}", hidden), on_input)

    def opened(name: str, cell: ir.Value) -> ir.Value:
        raw = gate(name)
        return scope.op(
            "Sigmoid", scope.op("Add", raw, sub(f"v{name}", cell)) if spec.peephole else raw
        )

    cell = next_cell(scope, cell, opened("f", cell), opened("i", cell), gate("g"), function)
    new = scope.op("Mul", opened("o", cell), activate(scope, cell, function))
    scope.keep("h", new, shape)
    scope.keep("c", clamped(scope, cell, spec.state_constrain), shape)
    return with_shortcut(scope, new, x) if spec.bottleneck and spec.shortcut else new


def clamped(scope: LayerScope, cell: ir.Value, limit: int) -> ir.Value:
    """Return the cell state limited to +-limit.

    Args:
        scope: scope of the layer.
        cell: cell state.
        limit: largest absolute value; 0 means no limit.
    """
    return scope.op("Clip", cell, scope.floats(-limit), scope.floats(limit)) if limit else cell


def with_shortcut(scope: LayerScope, x: ir.Value, source: ir.Value) -> ir.Value:
    """Return a value plus the first half of a source's channels.

    Args:
        scope: scope of the layer.
        x: (batch, channels, height, width).
        source: value of the same height and width.
    """
    channels = scope.layer.out_shape.c
    half = channels // 2
    if not half:
        return x
    first = scope.channels(source, 0, half)
    return scope.op("Add", x, scope.pad(first, [0] * 4, [0, channels - half, 0, 0]))


def shaped(scope: LayerScope, x: ir.Value, shape: Shape) -> ir.Value:
    """Return a vector or map with the output shape that the layer declares.

    Args:
        scope: scope of the layer.
        x: value with a batch axis.
        shape: shape of x without the batch axis.
    """
    out = scope.layer.out_shape
    is_same = shape == out and shape.is_map == out.is_map
    return x if is_same else scope.reshape(x, 0, *out)
