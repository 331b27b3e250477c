"""Builders of rnn, gru, lstm, crnn and conv_lstm layers.

Their state is kept from call to call until it is reset.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import build_activation
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.network import Layer, Network
from darkconv.layers import recurrent
from darkconv.layers.inner import inner_layers


class Recurrent(nn.Module):
    """A layer that consists of sub-layers, with a state that is kept from call to call.

    Subclasses implement `initial_state` and `step`.

    Args:
        layer: recurrent layer with its options and input shapes.
        network: its network, with which the sub-layers are built.

    Attributes:
        state: the state that `step` returned last; empty before the first call.
    """

    def __init__(self, layer: Layer, network: Network) -> None:
        super().__init__()
        self.out_shape = layer.out_shape
        self.state: tuple[Tensor, ...] = ()
        assert isinstance(layer.spec, recurrent.Recurrent)
        for name, sub in inner_layers(layer).items():
            setattr(self, name, BUILDERS[sub](sub, network))

    def reset_state(self) -> None:
        """Let the layer start from zero at the next call."""
        self.state = ()

    def forward(self, x: Tensor) -> Tensor:
        """Run one step; a batch of another size starts from zero."""
        state = self.state
        if not state or state[0].shape[0] != x.shape[0] or state[0].device != x.device:
            state = self.initial_state(x)
        out, state = self.step(x, *state)
        self.state = tuple(tensor.detach() for tensor in state)
        shape = self.out_shape if self.out_shape.is_map else (self.out_shape.c,)
        return out.reshape(x.shape[0], *shape)

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return a state of zeros.

        Args:
            x: input (N, ...), whose batch size, device and dtype the state gets.
        """
        raise NotImplementedError

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the output of one step, and the state for the next one.

        Args:
            x: input of the step, (N, ...).
            *state: state after the step before.
        """
        raise NotImplementedError


@PARAMETERS.register(
    recurrent.Rnn, recurrent.Gru, recurrent.Lstm, recurrent.Crnn, recurrent.ConvLstm
)
def recurrent_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a recurrent layer: those of its sub-layers, prefixed.

    Args:
        layer: [rnn], [gru], [lstm], [crnn] or [conv_lstm] layer.
    """
    return {
        f"{name}.{slot}": f"{name}.{parameter}"
        for name, sub in inner_layers(layer).items()
        for slot, parameter in PARAMETERS[sub](sub).items()
    }


class Elman(Recurrent):
    """Plain recurrent layer, rnn and crnn: h' = input(x) + self(h) (+ h), y = output(h')."""

    input_layer: nn.Module
    self_layer: nn.Module
    output_layer: nn.Module

    def __init__(self, layer: Layer, network: Network) -> None:
        super().__init__(layer, network)
        assert isinstance(layer.spec, (recurrent.Rnn, recurrent.Crnn))
        on_input, on_state, _ = layer.spec.sublayers(layer.in_shapes)
        self.in_shape, self.state_shape = on_input.in_shape, on_state.in_shape
        self.adds_state = layer.spec.shortcut

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return one hidden feature map or vector of zeros."""
        return (x.new_zeros(x.shape[0], *self.state_shape),)

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the equations of the class."""
        (hidden,) = state
        if self.in_shape.is_map:
            x = x.reshape(x.shape[0], *self.in_shape)
        new = self.input_layer(x) + self.self_layer(hidden)
        if self.adds_state:
            new = new + hidden
        return self.output_layer(new), (new,)


class Gru(Recurrent):
    """Gated recurrent unit: see `darkconv.layers.recurrent.Gru`."""

    def __init__(self, layer: Layer, network: Network) -> None:
        super().__init__(layer, network)
        assert isinstance(layer.spec, recurrent.Gru)
        self.on_state = layer.spec.state_names
        self.on_input = layer.spec.input_names
        self.function: Callable[[Tensor], Tensor] = torch.tanh if layer.spec.tanh else torch.sigmoid

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return one hidden vector of zeros."""
        return (x.new_zeros(x.shape[0], self.out_shape.c),)

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the equations of `darkconv.layers.recurrent.Gru`."""
        (hidden,) = state
        update = torch.sigmoid(self._sum("z", x, hidden))
        reset = torch.sigmoid(self._sum("r", x, hidden))
        candidate = self.function(self._sum("h", x, reset * hidden))
        new = update * hidden + (1 - update) * candidate
        return new, (new,)

    def _sum(self, gate: str, x: Tensor, hidden: Tensor) -> Tensor:
        on_input = self.get_submodule(self.on_input[gate])
        on_state = self.get_submodule(self.on_state[gate])
        return (on_input(x) + on_state(hidden)).flatten(1)


class Lstm(Recurrent):
    """Long short-term memory: see `darkconv.layers.recurrent.Lstm`."""

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return a hidden vector and a cell of zeros."""
        zeros = x.new_zeros(x.shape[0], self.out_shape.c)
        return zeros, zeros

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the equations of `darkconv.layers.recurrent.Lstm`."""
        hidden, cell = state
        f, i, o = (torch.sigmoid(self._sum(gate, x, hidden)) for gate in "fio")
        cell = f * cell + i * torch.tanh(self._sum("g", x, hidden))
        hidden = o * torch.tanh(cell)
        return hidden, (hidden, cell)

    def _sum(self, gate: str, x: Tensor, hidden: Tensor) -> Tensor:
        on_input, on_state = self.get_submodule(f"u{gate}"), self.get_submodule(f"w{gate}")
        return (on_input(x) + on_state(hidden)).flatten(1)


class ConvLstm(Recurrent):
    """Convolutional LSTM: see `darkconv.layers.recurrent.ConvLstm`."""

    def __init__(self, layer: Layer, network: Network) -> None:
        super().__init__(layer, network)
        assert isinstance(layer.spec, recurrent.ConvLstm)
        self.spec = layer.spec
        name = layer.spec.lstm_activation if layer.spec.bottleneck else "tanh"
        self.function = build_activation(name)

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return a hidden feature map and a cell of zeros."""
        zeros = x.new_zeros(x.shape[0], *self.out_shape)
        return zeros, zeros

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the equations of `darkconv.layers.recurrent.ConvLstm`.

        The cell is clamped for the next step alone.
        """
        hidden, cell = state
        if self.spec.bottleneck:
            x = self.function(self.get_submodule("wf")(torch.cat([hidden, x], 1)))
        f, i, g, o = (self._gate(gate, x, hidden) for gate in "figo")
        f = torch.sigmoid(f + self._peep("vf", cell))
        i = torch.sigmoid(i + self._peep("vi", cell))
        cell = f * cell + i * self.function(g)
        o = torch.sigmoid(o + self._peep("vo", cell))
        hidden = o * self.function(cell)
        limit = self.spec.state_constrain
        kept = cell.clamp(-limit, limit) if limit else cell
        out = hidden
        if self.spec.bottleneck and self.spec.shortcut:
            half = hidden.shape[1] // 2
            out = torch.cat([hidden[:, :half] + x[:, :half], hidden[:, half:]], 1)
        return out, (hidden, kept)

    def _gate(self, gate: str, x: Tensor, hidden: Tensor) -> Tensor:
        on_input = self.get_submodule(f"u{gate}")(x)
        if self.spec.bottleneck:
            return on_input
        return self.get_submodule(f"w{gate}")(hidden) + on_input

    def _peep(self, name: str, cell: Tensor) -> Tensor | float:
        return self.get_submodule(name)(cell) if self.spec.peephole else 0.0


@BUILDERS.register(recurrent.Rnn, recurrent.Crnn)
def build_elman(layer: Layer, network: Network) -> nn.Module:
    """Build a plain recurrent layer.

    Args:
        layer: [rnn] or [crnn] layer with its options and input shapes.
        network: its network, with which the sub-layers are built.
    """
    return Elman(layer, network)


@BUILDERS.register(recurrent.Gru)
def build_gru(layer: Layer, network: Network) -> nn.Module:
    """Build a gated recurrent unit.

    Args:
        layer: [gru] layer with its options and input shapes.
        network: its network, with which the sub-layers are built.
    """
    return Gru(layer, network)


@BUILDERS.register(recurrent.Lstm)
def build_lstm(layer: Layer, network: Network) -> nn.Module:
    """Build a long short-term memory.

    Args:
        layer: [lstm] layer with its options and input shapes.
        network: its network, with which the sub-layers are built.
    """
    return Lstm(layer, network)


@BUILDERS.register(recurrent.ConvLstm)
def build_conv_lstm(layer: Layer, network: Network) -> nn.Module:
    """Build a convolutional LSTM.

    Args:
        layer: [conv_lstm] layer with its options and input shapes.
        network: its network, with which the sub-layers are built.
    """
    return ConvLstm(layer, network)
