"""Builders of connected, implicit, implicit_add and implicit_mul layers."""

import torch
from torch import Tensor, nn

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import build_activation
from darkconv.backends.torch.norm import BatchNorm, norm_table
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.network import Layer, Network
from darkconv.layers import dense


class Connected(nn.Module):
    """A matrix product with the flattened input, batch norm or bias, and activation.

    Args:
        layer: [connected] layer with its input shape.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, dense.Connected)
        bias = not spec.batch_normalize
        self.fc = nn.Linear(layer.in_shapes[0].size, spec.output, bias=bias)
        norm = (
            BatchNorm(spec.output, spec.dialect, own_input=True)
            if spec.batch_normalize
            else nn.Identity()
        )
        self.bn = norm
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, outputs, 1, 1) of an input (N, ...)."""
        out = self.act(self.bn(self.fc(x.flatten(1))))
        return out.reshape(-1, self.fc.out_features, 1, 1)


@BUILDERS.register(dense.Connected)
def build_connected(layer: Layer, _: Network) -> nn.Module:
    """Build a fully connected layer, its batch norm or bias, and its activation.

    Args:
        layer: [connected] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Connected(layer)


@PARAMETERS.register(dense.Connected)
def connected_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a fully connected layer; batch norm, if any, has the biases.

    Args:
        layer: [connected] layer.
    """
    assert isinstance(layer.spec, dense.Connected)
    if layer.spec.batch_normalize:
        return {"weights": "fc.weight", **norm_table("bn")}
    return {"weights": "fc.weight", "biases": "fc.bias"}


class Implicit(nn.Module):
    """A learned constant, the same for each picture.

    Args:
        layer: [implicit], [implicit_add] or [implicit_mul] layer with its slot.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(layer.slots[0].shape))

    def forward(self, batch: int) -> Tensor:
        """Return the constant as (batch, filters, rows, 1)."""
        return self.weight.expand(batch, -1, -1).unsqueeze(3)


@BUILDERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def build_implicit(layer: Layer, _: Network) -> nn.Module:
    """Build a learned constant.

    Args:
        layer: [implicit], [implicit_add] or [implicit_mul] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Implicit(layer)


@PARAMETERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def implicit_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a learned constant.

    Args:
        layer: [implicit], [implicit_add] or [implicit_mul] layer.
    """
    return {"weights": "weight"}
