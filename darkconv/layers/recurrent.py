"""The layer types rnn, gru, lstm, crnn and conv_lstm: layers made of layers, with a state.

The state starts at zero and is kept from one forward pass to the next, as in C at inference.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.options import option
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import LayerSpec, Remark, Slots, Ties, layer
from darkconv.errors import GraphError, Where
from darkconv.layers.activation import activation_option
from darkconv.layers.conv import Convolutional, new_channels
from darkconv.layers.dense import Connected

GROUPED = "its convolutions on input and state are in groups"


class SubLayer(NamedTuple):
    """A layer inside a recurrent layer.

    Attributes:
        name: its name in the keys of arrays.
        spec: its spec.
        in_shape: shape of its one input.
    """

    name: str
    spec: LayerSpec
    in_shape: Shape


@dataclass(frozen=True, kw_only=True)
class Recurrent(LayerSpec):
    """A layer whose arrays all belong to sub-layers."""

    input_readers: ClassVar[tuple[str, ...]] = ()
    """Names of the sub-layers that read only the layer's input."""
    output_maker: ClassVar[str] = ""
    """Name of the sub-layer that makes the layer's output and nothing else; "" if there is none."""

    batch_normalize: bool = option(False)

    def locks_outputs(self) -> str:
        """Return the reason for most kinds: the state has the channels of the output."""
        return "" if self.output_maker else "its state has the same channels"

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the first reason given by a sub-layer that reads the input."""
        reasons = (
            spec.locks_inputs((shape,))
            for name, spec, shape in self.sublayers(inputs)
            if name in self.input_readers
        )
        return next(filter(None, reasons), "")

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return the remarks of the sub-layers, each once."""
        every = (spec.remarks((shape,)) for _, spec, shape in self.sublayers(inputs))
        return tuple(dict.fromkeys(remark for remarks in every for remark in remarks))

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return the sub-layers in file order.

        Args:
            inputs: shape of the layer's one input.
        """
        raise NotImplementedError

    @property
    def out_channels(self) -> int:
        """Return the number of channels, or values, of the output."""
        raise NotImplementedError

    def slots(self, inputs: Shapes) -> Slots:
        """Return the slots of the sub-layers, with their names as prefixes."""
        return tuple(
            slot._replace(
                name=f"{name}.{slot.name}",
                in_axis=slot.in_axis if name in self.input_readers else None,
                out_axis=slot.out_axis if name == self.output_maker else None,
            )
            for name, spec, shape in self.sublayers(inputs)
            for slot in spec.slots((shape,))
        )

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of new channels."""
        return new_channels(self.out_channels)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `output`, or the option that replaces it in pjreddie's [crnn]."""
        return {self.output_option: outputs}

    @property
    def output_option(self) -> str:
        """Return the name of the option for the number of output channels."""
        return "output"

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return the operations of the sub-layers for one step."""
        return sum(
            spec.macs((shape,), spec.infer_shape((shape,)))
            for _, spec, shape in self.sublayers(inputs)
        )


@dataclass(frozen=True, kw_only=True)
class DenseRecurrent(Recurrent):
    """A recurrent layer on vectors."""

    output: int = option(1, minimum=1)

    @property
    def out_channels(self) -> int:
        """Return `output`."""
        return self.output

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of `output` values: a map of one pixel, or a vector in pjreddie."""
        if self.dialect.recurrent_is_map:
            return Shape(self.output, 1, 1)
        return FlatShape.of(self.output)

    def dense(self, name: str, x: Shape, outputs: int, activation: str = "linear") -> SubLayer:
        """Return a connected sub-layer.

        Args:
            name: its name in the keys of arrays.
            x: shape of its input.
            outputs: number of its outputs.
            activation: Darknet's name of its activation function.
        """
        spec = Connected.make(
            self.dialect,
            output=outputs,
            activation=activation,
            batch_normalize=self.batch_normalize,
        )
        return SubLayer(name, spec, x)


@layer("rnn")
@dataclass(frozen=True, kw_only=True)
class Rnn(DenseRecurrent):
    """h' = act(Wi x) + act_self(Ws h) (+ h with `shortcut`), y = act(Wo h').

    alexeyab has a separate number of hidden values (its default is only 1), and `logistic` makes
    act_self a sigmoid (1) or loggy (2).
    """

    input_readers = ("input_layer",)
    output_maker = "output_layer"

    activation: str = activation_option("logistic")
    shortcut: bool = option(False)
    hidden: int = option(1, minimum=1, only=ALEXEYAB, tells_dialect=False)
    logistic: int = option(0, only=ALEXEYAB)

    def locks_outputs(self) -> str:
        """Return the reason in pjreddie: the state has as many values as the output."""
        return "its state is as wide" if self.dialect == PJREDDIE else ""

    @property
    def state_size(self) -> int:
        """Return the number of values of h."""
        return self.hidden if self.dialect.follows(ALEXEYAB) else self.output

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return input_layer, self_layer and output_layer."""
        state = FlatShape.of(self.state_size)
        act_self = {1: "logistic", 2: "loggy"}.get(self.logistic, self.activation)
        return (
            self.dense("input_layer", inputs[0], self.state_size, self.activation),
            self.dense("self_layer", state, self.state_size, act_self),
            self.dense("output_layer", state, self.output, self.activation),
        )


@layer("gru")
@dataclass(frozen=True, kw_only=True)
class Gru(DenseRecurrent):
    """Gated recurrent unit, y = h' = z h + (1 - z) f(Uh x + Wh (r h)).

    z and r are sigmoids of U x + W h. f is a sigmoid too, or tanh with pjreddie's `tanh`. The file
    order differs: pjreddie stores the matrices for the state first, alexeyab those for the input.
    """

    input_readers = ("uz", "ur", "uh", "input_z_layer", "input_r_layer", "input_h_layer")

    tanh: bool = option(False, only=PJREDDIE)

    @property
    def state_names(self) -> dict[str, str]:
        """Return the name of the sub-layer that reads the state for each of the gates z, r, h."""
        original = self.dialect == PJREDDIE
        return {gate: f"w{gate}" if original else f"state_{gate}_layer" for gate in "zrh"}

    @property
    def input_names(self) -> dict[str, str]:
        """Return the name of the sub-layer that reads the input for each of the gates z, r, h."""
        original = self.dialect == PJREDDIE
        return {gate: f"u{gate}" if original else f"input_{gate}_layer" for gate in "zrh"}

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of a vector, in both dialects."""
        return FlatShape.of(self.output)

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return the six sub-layers in the file order of the dialect, each half as z, r, h."""
        state = FlatShape.of(self.output)
        on_state = [self.dense(n, state, self.output) for n in self.state_names.values()]
        on_input = [self.dense(n, inputs[0], self.output) for n in self.input_names.values()]
        if self.dialect == PJREDDIE:
            return (*on_state, *on_input)
        return (*on_input, *on_state)


def gate_order(spec: LayerSpec) -> str:
    """Return the order of an LSTM's gates in the file, as four letters.

    Args:
        spec: spec of the layer, for its dialect.
    """
    return "ifog" if spec.dialect == PJREDDIE else "figo"


@layer("lstm")
@dataclass(frozen=True, kw_only=True)
class Lstm(DenseRecurrent):
    """Long short-term memory: c' = f c + i g, y = h' = o tanh(c').

    f, i and o are sigmoids of W h + U x, and g is its tanh. Every W and U has its own bias.
    """

    input_readers = ("ui", "uf", "uo", "ug")

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return the sub-layers w* for the state, then u* for the input."""
        state = FlatShape.of(self.output)
        order = gate_order(self)
        return (
            *(self.dense(f"w{gate}", state, self.output) for gate in order),
            *(self.dense(f"u{gate}", inputs[0], self.output) for gate in order),
        )


@dataclass(frozen=True, kw_only=True)
class ConvolutionalRecurrent(Recurrent):
    """A recurrent layer on feature maps."""

    needs_map = True

    shortcut: bool = option(False)
    output: int = option(1, minimum=1, only=ALEXEYAB)
    size: int = option(3, minimum=1, only=ALEXEYAB)
    stride: int = option(1, minimum=1, only=ALEXEYAB)
    dilation: int = option(1, minimum=1, only=ALEXEYAB)
    pad: bool = option(False, only=ALEXEYAB)
    padding: int = option(0, minimum=0, only=ALEXEYAB)
    groups: int = option(1, only=ALEXEYAB)
    xnor: bool = option(False, only=ALEXEYAB)

    def locks_outputs(self) -> str:
        """Return the reason with groups: all convolutions share the number of groups."""
        return GROUPED if self.groups > 1 else super().locks_outputs()

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason with groups: all convolutions share the number of groups."""
        return GROUPED if self.groups > 1 else super().locks_inputs(inputs)

    @property
    def out_channels(self) -> int:
        """Return `output`."""
        return self.output

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input's map size with the channels of the output."""
        (x,) = inputs
        for name, spec, shape in self.sublayers(inputs):
            out = spec.infer_shape((shape,))
            if (out.h, out.w) != (shape.h, shape.w):
                raise GraphError(
                    expected=f"its {name} to keep the map of {shape.w}x{shape.h}",
                    found=f"{out.w}x{out.h}",
                    hint="size=3 pad=1, or size=1",
                )
        return Shape(self.out_channels, x.h, x.w)

    def convolution(self, name: str, x: Shape, filters: int, activation: str) -> SubLayer:
        """Return a convolutional sub-layer with the options of this layer.

        Args:
            name: its name in the keys of arrays.
            x: shape of its input.
            filters: number of its output channels.
            activation: Darknet's name of its activation function.
        """
        spec = Convolutional.make(
            self.dialect,
            filters=filters,
            activation=activation,
            batch_normalize=self.batch_normalize,
            size=self.size,
            stride=self.stride,
            stride_x=self.stride,
            stride_y=self.stride,
            dilation=self.dilation,
            pad=self.pad,
            padding=self.padding,
            groups=self.groups,
            xnor=self.xnor,
        )
        return SubLayer(name, spec, x)

    def convolutions(
        self, names: Iterable[str], x: Shape, filters: int, activation: str
    ) -> tuple[SubLayer, ...]:
        """Return equal convolutional sub-layers with different names.

        Args:
            names: their names in the keys of arrays.
            x: shape of their input.
            filters: number of their output channels.
            activation: Darknet's name of their activation function.
        """
        return tuple(self.convolution(name, x, filters, activation) for name in names)


@layer("crnn")
@dataclass(frozen=True, kw_only=True)
class Crnn(ConvolutionalRecurrent):
    """[rnn] with convolutions instead of matrices.

    Those of pjreddie are 3x3 with padding. It swaps height and width, so a map that is not square
    is read as w rows of h values.
    """

    input_readers = ("input_layer",)
    output_maker = "output_layer"

    activation: str = activation_option("logistic")
    hidden: int = option(1, minimum=1, only=ALEXEYAB)
    output_filters: int = option(1, minimum=1, only=PJREDDIE)
    hidden_filters: int = option(1, minimum=1, only=PJREDDIE)

    @property
    def out_channels(self) -> int:
        """Return `output`, or `output_filters` in pjreddie."""
        return self.output_filters if self.dialect == PJREDDIE else self.output

    @property
    def output_option(self) -> str:
        """Return "output", or "output_filters" in pjreddie."""
        return "output_filters" if self.dialect == PJREDDIE else "output"

    @property
    def state_channels(self) -> int:
        """Return `hidden`, or `hidden_filters` in pjreddie."""
        return self.hidden_filters if self.dialect == PJREDDIE else self.hidden

    def convolution(self, name: str, x: Shape, filters: int, activation: str) -> SubLayer:
        """Return a convolutional sub-layer with these options; pjreddie's kernel is fixed."""
        sub = super().convolution(name, x, filters, activation)
        if self.dialect != PJREDDIE:
            return sub
        assert isinstance(sub.spec, Convolutional)
        return sub._replace(spec=replace(sub.spec, pad=True))

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return input_layer, self_layer and output_layer."""
        (x,) = inputs
        turned = Shape(x.c, x.w, x.h) if self.dialect == PJREDDIE else x
        state = turned._replace(c=self.state_channels)
        act = self.activation
        return (
            self.convolution("input_layer", turned, state.c, act),
            self.convolution("self_layer", state, state.c, act),
            self.convolution("output_layer", state, self.out_channels, act),
        )


@layer("conv_lstm", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class ConvLstm(ConvolutionalRecurrent):
    """[lstm] with convolutions; with `peephole` the gates also read the cell.

    f = sigmoid(Wf h + Uf x [+ Vf c]), i and o in the same way (o with the new cell), g = tanh(Wg h
    + Ug x), c' = f c + i g, y = h' = o tanh(c'). Every convolution applies bias or batch norm and
    `activation` before the gates are summed. The cell is clamped to +-state_constrain between
    steps.

    `bottleneck` exists only in C's GPU code: s = act(Wf [h, x]) replaces x in every gate, and the W
    terms are dropped; act is `lstm_activation`, also for g and the cell. With `shortcut` the first
    half of s is added to y.
    """

    input_readers = ("ui", "uf", "uo", "ug")

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason with `bottleneck`: the input is concatenated with the state."""
        if self.bottleneck:
            return "its bottleneck has as many channels as its state"
        return super().locks_inputs(inputs)

    activation: str = activation_option("linear")
    peephole: bool = option(False)
    bottleneck: bool = option(False)
    state_constrain: int = option(32, minimum=0)
    lstm_activation: str = activation_option("tanh")
    time_normalizer: float = option(1.0, training=True)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input's map size with `output` channels."""
        if self.bottleneck and inputs[0].c != self.output:
            raise GraphError(
                where=Where(option="bottleneck"),
                expected=f"an input of output={self.output} channels",
                found=inputs[0].c,
            )
        return super().infer_shape(inputs)

    def sublayers(self, inputs: Shapes) -> tuple[SubLayer, ...]:
        """Return v* for the cell, w* for the state (only wf if `bottleneck`), u* for the input."""
        (x,) = inputs
        state = x._replace(c=self.output)
        act = self.activation
        on_cell = ("vf", "vi", "vo") if self.peephole else ()
        if self.bottleneck:
            both = state._replace(c=2 * self.output)
            on_state = self.convolutions(("wf",), both, self.output, act)
        else:
            on_state = self.convolutions(("wf", "wi", "wg", "wo"), state, self.output, act)
        return (
            *self.convolutions(on_cell, state, self.output, act),
            *on_state,
            *self.convolutions(("uf", "ui", "ug", "uo"), x, self.output, act),
        )
