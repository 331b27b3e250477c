"""Builders of dropout, cost, empty, contrastive and history layers."""

import torch
from torch import Tensor, nn

from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.network import Layer, Network
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout)
def build_dropout(layer: Layer, _: Network) -> nn.Module:
    """Build a dropout, which is the identity in evaluation.

    Args:
        layer: [dropout] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, inert.Dropout)
    return nn.Dropout(layer.spec.rate)


@BUILDERS.register(inert.Empty)
def build_empty(layer: Layer, _: Network) -> nn.Module:
    """Build the identity.

    Args:
        layer: [empty] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return nn.Identity()


class Zeros(nn.Module):
    """As many zeros as the input has values: in C a loss without ground truth gives these."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (N, values) for an input (N, ...)."""
        return torch.zeros_like(x.flatten(1))


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(layer: Layer, _: Network) -> nn.Module:
    """Build a loss layer, whose output is zeros: as many as its input has values.

    Args:
        layer: [cost] or [contrastive] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Zeros()


class History(nn.Module):
    """The input, followed by zeros for the earlier steps, which a single call does not have.

    Args:
        size: number of steps, the input's included.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, size * C, H, W) for an input (N, C, H, W)."""
        return torch.cat([x, *[torch.zeros_like(x)] * (self.size - 1)], 1)


@BUILDERS.register(inert.History)
def build_history(layer: Layer, _: Network) -> nn.Module:
    """Build a layer with channels for several steps: the input, then zeros.

    Args:
        layer: [history] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, inert.History)
    return History(layer.spec.history_size)
