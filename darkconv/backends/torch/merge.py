"""route, shortcut, sam, scale_channels, shift_channels, control_channels."""

import torch
from torch import Tensor, nn

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import build_activation
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.network import Layer, Network
from darkconv.layers import merge


class Route(nn.Module):
    """Concatenation of inputs, or of one slice of each."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, merge.Route)
        self.groups = spec.groups
        self.group_id = spec.group_id
        self.is_flat = not layer.out_shape.is_map

    def forward(self, *inputs: Tensor) -> Tensor:
        """Along the channels, or of flattened inputs where maps differ."""
        parts = [x.flatten(1) for x in inputs] if self.is_flat else list(inputs)
        if self.groups > 1:
            parts = [x.tensor_split(self.groups, 1)[self.group_id] for x in parts]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def extra_repr(self) -> str:
        """The slice taken."""
        return f"group {self.group_id} of {self.groups}" if self.groups > 1 else ""


@BUILDERS.register(merge.Route)
def build_route(layer: Layer, _: Network) -> nn.Module:
    """Concatenation."""
    return Route(layer)


def add_channels(x: Tensor, source: Tensor) -> Tensor:
    """Add the channels that both have to x."""
    if source.shape[1] == x.shape[1]:
        return x + source
    common = min(x.shape[1], source.shape[1])
    return torch.cat([x[:, :common] + source[:, :common], x[:, common:]], 1)


class Shortcut(nn.Module):
    """Sum of the previous layer and others of the same map size."""

    def __init__(self, spec: merge.Shortcut) -> None:
        super().__init__()
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, *sources: Tensor) -> Tensor:
        """Shape of x."""
        for source in sources:
            x = add_channels(x, source)
        return self.act(x)


class WeightedShortcut(nn.Module):
    """Sum with learned weights that are normalised at every call."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, merge.Shortcut)
        self.weight = nn.Parameter(torch.empty(layer.slots[0].shape))
        self.normalization = spec.normalization
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, *sources: Tensor) -> Tensor:
        """Shape of x."""
        first, *others = self._weights()
        out = x * first
        for source, weight in zip(sources, others, strict=True):
            common = min(x.shape[1], source.shape[1])
            per_channel = weight[:common] if weight.shape[0] > 1 else weight
            out = add_channels(out, source[:, :common] * per_channel)
        return self.act(out)

    def _weights(self) -> tuple[Tensor, ...]:
        """Per source a (channels or 1, 1, 1) tensor."""
        if self.normalization == "relu":
            positive = self.weight.clamp(min=0)
        else:
            positive = (self.weight - self.weight.amax(0)).exp()
        shares = positive / (merge.WEIGHT_EPSILON + positive.sum(0))
        return shares.unsqueeze(2).unsqueeze(3).unbind(0)


class SampledShortcut(nn.Module):
    """One source of another map size, alpha and beta."""

    def __init__(self, spec: merge.Shortcut) -> None:
        super().__init__()
        self.alpha = spec.alpha
        self.beta = spec.beta
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Shape of x; cells that the source does not reach keep their value."""
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
    """Plain, weighted or sampled sum."""
    spec = layer.spec
    assert isinstance(spec, merge.Shortcut)
    if layer.slots:
        return WeightedShortcut(layer)
    return (SampledShortcut if merge.needs_sampling(spec, layer.in_shapes) else Shortcut)(spec)


@PARAMETERS.register(merge.Shortcut)
def shortcut_parameters(layer: Layer) -> ParameterTable:
    """The weights, where it has any."""
    return {"weights": "weight"} if layer.slots else {}


class Gate(nn.Module):
    """Product of two inputs, one of them broadcast where it has one pixel or one channel."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.act = build_activation(activation, own_input=True)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Shape of the source."""
        return self.act(x * source)


@BUILDERS.register(merge.Sam, merge.ScaleChannels)
def build_gate(layer: Layer, _: Network) -> nn.Module:
    """Product of two layers."""
    assert isinstance(layer.spec, merge.Gate)
    return Gate(layer.spec.activation)


class Shift(nn.Module):
    """Sum of two inputs, the second of one value for each channel."""

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Shape of x."""
        return x + values


@BUILDERS.register(merge.ShiftChannels)
def build_shift(layer: Layer, _: Network) -> nn.Module:
    """Sum of a layer and a value for each channel."""
    return Shift()


class Control(nn.Module):
    """Product of two inputs, the second of one value for each channel."""

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """Shape of x."""
        return x * values


@BUILDERS.register(merge.ControlChannels)
def build_control(layer: Layer, _: Network) -> nn.Module:
    """Product of a layer and a value for each channel."""
    return Control()
