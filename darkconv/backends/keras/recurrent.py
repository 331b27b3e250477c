"""Builders of rnn, gru, lstm, crnn and conv_lstm layers.

Their state is an input and an output of the model: that of layer 3 enters as `003_lstm_h_in` and
leaves as `003_lstm_h_out`. It is zeros at the first call, then the output of the call before.
"""

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.places import PlaceTable, prefixed
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.core.shape import Shape
from darkconv.layers import dense, recurrent
from darkconv.layers.inner import inner_layers


class SubLayers:
    """The sub-layers of a recurrent layer, to be built by name.

    Args:
        scope: of the recurrent layer.
    """

    def __init__(self, scope: LayerScope) -> None:
        self.scope = scope
        self.layers = inner_layers(scope.layer)

    def __call__(self, name: str, x: Tensor) -> Tensor:
        """Build a sub-layer on x.

        Args:
            name: name of the sub-layer.
            x: (N, H, W, C) or (N, values).
        """
        layer = self.layers[name]
        places = PLACES[layer](layer, self.scope.network)
        return BUILDERS[layer](self.scope.inner(name, layer, places, x))

    def state_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of the state that a sub-layer makes: (C,) from a matrix, or (H, W, C).

        Args:
            name: name of the sub-layer.
        """
        layer = self.layers[name]
        is_dense = isinstance(layer.spec, dense.Connected)
        return (layer.out_shape.c,) if is_dense else map_shape(layer.out_shape)


def map_shape(shape: Shape) -> tuple[int, int, int]:
    """Return the axes of a feature map in Keras's order, (H, W, C).

    Args:
        shape: shape of a layer's output.
    """
    return shape.h, shape.w, shape.c


@PLACES.register(recurrent.Rnn, recurrent.Gru, recurrent.Lstm, recurrent.Crnn, recurrent.ConvLstm)
def recurrent_places(layer: Layer, network: Network) -> PlaceTable:
    """Return where the arrays of a recurrent layer lie: in those of its sub-layers, prefixed.

    Args:
        layer: [rnn], [gru], [lstm], [crnn] or [conv_lstm] layer.
        network: its network, for the sub-layers.
    """
    places: PlaceTable = {}
    for name, sub in inner_layers(layer).items():
        places = {**places, **prefixed(name, PLACES[sub](sub, network))}
    return places


@BUILDERS.register(recurrent.Rnn, recurrent.Crnn)
def build_elman(scope: LayerScope) -> Tensor:
    """Build a plain recurrent layer.

    It computes h' = input(x) + self(h) (+ h), y = output(h'): see `darkconv.layers.recurrent.Rnn`.

    Args:
        scope: of the [rnn] or [crnn] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, (recurrent.Rnn, recurrent.Crnn))
    sub = SubLayers(scope)
    hidden = scope.state("h", sub.state_shape("input_layer"))
    x, reads = scope.x, sub.layers["input_layer"].in_shapes[0]
    if isinstance(spec, recurrent.Crnn) and reads != scope.layer.in_shapes[0]:
        x = scope.as_map(scope.flat(), reads)
    new = scope.op("add", sub("input_layer", x), sub("self_layer", hidden))
    if spec.shortcut:
        new = scope.op("add", new, hidden)
    scope.keep("h", new)
    return scope.finish(sub("output_layer", new))


@BUILDERS.register(recurrent.Gru)
def build_gru(scope: LayerScope) -> Tensor:
    """Build a gated recurrent unit.

    `darkconv.layers.recurrent.Gru` has the equations.

    Args:
        scope: of the [gru] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, recurrent.Gru)
    sub = SubLayers(scope)
    hidden = scope.state("h", (spec.output,))

    def gate(name: str, state: Tensor) -> Tensor:
        on_input = sub(spec.input_names[name], scope.flat())
        return scope.op("add", on_input, sub(spec.state_names[name], state))

    update = scope.op("sigmoid", gate("z", hidden))
    reset = scope.op("sigmoid", gate("r", hidden))
    raw = gate("h", scope.op("multiply", reset, hidden))
    candidate = scope.op("tanh" if spec.tanh else "sigmoid", raw)
    rest = scope.op("subtract", 1.0, update)
    kept, entering = (scope.op("multiply", *pair) for pair in ((update, hidden), (rest, candidate)))
    new = scope.op("add", kept, entering)
    scope.keep("h", new)
    return scope.finish(new)


@BUILDERS.register(recurrent.Lstm)
def build_lstm(scope: LayerScope) -> Tensor:
    """Build a long short-term memory.

    `darkconv.layers.recurrent.Lstm` has the equations.

    Args:
        scope: of the [lstm] layer, in whose graph it is built.
    """
    sub, shape = SubLayers(scope), (scope.layer.out_shape.c,)
    hidden, cell = scope.state("h", shape), scope.state("c", shape)
    x = scope.flat()
    f, i, g, o = (scope.op("add", sub(f"u{gate}", x), sub(f"w{gate}", hidden)) for gate in "figo")
    f, i, o = (scope.op("sigmoid", gate) for gate in (f, i, o))
    cell = next_cell(scope, cell, f, i, scope.op("tanh", g))
    new = scope.op("multiply", o, scope.op("tanh", cell))
    scope.keep("h", new)
    scope.keep("c", cell)
    return scope.finish(new)


def next_cell(scope: LayerScope, cell: Tensor, f: Tensor, i: Tensor, g: Tensor) -> Tensor:
    """Compute the new cell f * cell + i * g.

    Args:
        scope: of the layer.
        cell: cell after the step before.
        f: forget gate, after its sigmoid.
        i: input gate, after its sigmoid.
        g: candidate, after its activation.
    """
    return scope.op("add", scope.op("multiply", f, cell), scope.op("multiply", i, g))


@BUILDERS.register(recurrent.ConvLstm)
def build_conv_lstm(scope: LayerScope) -> Tensor:
    """Build a convolutional LSTM.

    `darkconv.layers.recurrent.ConvLstm` has the equations. The cell is clamped for the next step
    alone.

    Args:
        scope: of the [conv_lstm] layer, in whose graph it is built.
    """
    spec, shape = scope.layer.spec, map_shape(scope.layer.out_shape)
    assert isinstance(spec, recurrent.ConvLstm)
    sub = SubLayers(scope)
    hidden, cell = scope.state("h", shape), scope.state("c", shape)
    function = spec.lstm_activation if spec.bottleneck else "tanh"
    x = scope.map()
    if spec.bottleneck:
        x = activate(scope, sub("wf", scope.concat([hidden, x])), function)

    def gate(name: str) -> Tensor:
        on_input = sub(f"u{name}", x)
        return on_input if spec.bottleneck else scope.op("add", sub(f"w{name}", hidden), on_input)

    def opened(name: str, cell: Tensor) -> Tensor:
        raw = gate(name)
        raw = scope.op("add", raw, sub(f"v{name}", cell)) if spec.peephole else raw
        return scope.op("sigmoid", raw)

    entering = activate(scope, gate("g"), function)
    cell = next_cell(scope, cell, opened("f", cell), opened("i", cell), entering)
    new = scope.op("multiply", opened("o", cell), activate(scope, cell, function))
    scope.keep("h", new)
    limit = float(spec.state_constrain)
    scope.keep("c", scope.op("clip", cell, -limit, limit) if limit else cell)
    if spec.bottleneck and spec.shortcut:
        new = with_shortcut(scope, new, x)
    return scope.finish(new)


def with_shortcut(scope: LayerScope, x: Tensor, source: Tensor) -> Tensor:
    """Return x plus the first half of the source's channels.

    Args:
        scope: of the [conv_lstm] layer.
        x: feature map (N, H, W, C).
        source: feature map (N, H, W, C'), with at least half as many channels.
    """
    half = x.shape[-1] // 2
    first = scope.op("add", scope.channels(x, 0, half), scope.channels(source, 0, half))
    return scope.concat([first, scope.channels(x, half, None)])
