"""Builders of route, shortcut, sam, scale_channels, shift_channels and control_channels layers."""

import torch
from torch import Tensor, nn

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import build_activation
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.network import Layer, Network
from darkconv.layers import merge


class Route(nn.Module):
    """Concatenation of inputs, or of one slice of the channels of each.

    Args:
        layer: [route] layer with its output shape.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, merge.Route)
        self.groups = spec.groups
        self.group_id = spec.group_id
        self.is_flat = not layer.out_shape.is_map

    def forward(self, *inputs: Tensor) -> Tensor:
        """Concatenate along the channels; inputs of different size are flattened first."""
        parts = [x.flatten(1) for x in inputs] if self.is_flat else list(inputs)
        if self.groups > 1:
            parts = [x.tensor_split(self.groups, 1)[self.group_id] for x in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def extra_repr(self) -> str:
        """Return which slice of the channels is taken."""
        return f"group {self.group_id} of {self.groups}" if self.groups > 1 else ""


@BUILDERS.register(merge.Route)
def build_route(layer: Layer, _: Network) -> nn.Module:
    """Build a concatenation of layers.

    Args:
        layer: [route] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Route(layer)


def add_channels(x: Tensor, source: Tensor) -> Tensor:
    """Return x plus the source in the channels that both have; other channels of x stay.

    Args:
        x: feature map (N, C, H, W).
        source: feature map (N, C', H, W).
    """
    if source.shape[1] == x.shape[1]:
        return x + source
    common = min(x.shape[1], source.shape[1])
    return torch.cat([x[:, :common] + source[:, :common], x[:, common:]], 1)


class Shortcut(nn.Module):
    """Sum of the previous layer and others of the same height and width.

    Args:
        spec: options of the [shortcut] layer.
    """

    def __init__(self, spec: merge.Shortcut) -> None:
        super().__init__()
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, *sources: Tensor) -> Tensor:
        """Return the activated sum, in the shape of x."""
        for source in sources:
            x = add_channels(x, source)
        return self.act(x)


class WeightedShortcut(nn.Module):
    """Sum with learned weights that are normalised at every call.

    Args:
        layer: [shortcut] layer with its slot.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, merge.Shortcut)
        self.weight = nn.Parameter(torch.empty(layer.slots[0].shape))
        self.normalization = spec.normalization
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, *sources: Tensor) -> Tensor:
        """Return the activated weighted sum, in the shape of x."""
        first, *others = self._weights()
        out = x * first
        for source, weight in zip(sources, others, strict=True):
            common = min(x.shape[1], source.shape[1])
            per_channel = weight[:common] if weight.shape[0] > 1 else weight
            out = add_channels(out, source[:, :common] * per_channel)
        return self.act(out)

    def _weights(self) -> tuple[Tensor, ...]:
        """Return for each source a tensor (channels or 1, 1, 1)."""
        if self.normalization == "relu":
            positive = self.weight.clamp(min=0)
        else:
            positive = (self.weight - self.weight.amax(0)).exp()
        shares = positive / (merge.WEIGHT_EPSILON + positive.sum(0))
        return shares.unsqueeze(2).unsqueeze(3).unbind(0)


class SampledShortcut(nn.Module):
    """alpha * x + beta * source, with a source of another height and width.

    Args:
        spec: options of the [shortcut] layer.
    """

    def __init__(self, spec: merge.Shortcut) -> None:
        super().__init__()
        self.alpha = spec.alpha
        self.beta = spec.beta
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return the activated sum, in the shape of x; x stays where the source does not reach."""
        stride = max(1, source.shape[3] // x.shape[3])
        sample = max(1, x.shape[3] // source.shape[3])
        channels, rows, columns = (
            min(a, b) for a, b in zip(x.shape[1:], source.shape[1:], strict=True)
        )
        out = x.clone()
        reached = out[:, :channels, : rows * sample : sample, : columns * sample : sample]
        taken = source[:, :channels, : rows * stride : stride, : columns * stride : stride]
        reached.copy_(self.alpha * reached + self.beta * taken)
        return self.act(out)


@BUILDERS.register(merge.Shortcut)
def build_shortcut(layer: Layer, _: Network) -> nn.Module:
    """Build a plain, weighted or sampled sum and its activation.

    Args:
        layer: [shortcut] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    spec = layer.spec
    assert isinstance(spec, merge.Shortcut)
    if layer.slots:
        return WeightedShortcut(layer)
    return (SampledShortcut if merge.needs_sampling(spec, layer.in_shapes) else Shortcut)(spec)


@PARAMETERS.register(merge.Shortcut)
def shortcut_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a sum, which is empty unless it has weights.

    Args:
        layer: [shortcut] layer.
    """
    return {"weights": "weight"} if layer.slots else {}


class Gate(nn.Module):
    """Product of two inputs, one of them broadcast if it has one pixel or one channel.

    Args:
        activation: Darknet's name of the activation function.
    """

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.act = build_activation(activation, own_input=True)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Return the activated product, in the shape of the source."""
        return self.act(x * source)


@BUILDERS.register(merge.Sam, merge.ScaleChannels)
def build_gate(layer: Layer, _: Network) -> nn.Module:
    """Build a product of two layers and its activation.

    Args:
        layer: [sam] or [scale_channels] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, merge.Gate)
    return Gate(layer.spec.activation)


class Shift(nn.Module):
    """Sum of an input and a value for each channel."""

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Return the sum, in the shape of x."""
        return x + values


@BUILDERS.register(merge.ShiftChannels)
def build_shift(layer: Layer, _: Network) -> nn.Module:
    """Build a sum of a layer and a value for each channel.

    Args:
        layer: [shift_channels] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Shift()


class Control(nn.Module):
    """Product of an input and a value for each channel."""

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Return the product, in the shape of x."""
        return x * values


@BUILDERS.register(merge.ControlChannels)
def build_control(layer: Layer, _: Network) -> nn.Module:
    """Build a product of a layer and a value for each channel.

    Args:
        layer: [control_channels] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Control()
