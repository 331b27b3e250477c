"""dropout, cost, empty, contrastive, history."""

import torch
from torch import Tensor, nn

from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.network import Layer, Network
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout)
def build_dropout(layer: Layer, _: Network) -> nn.Module:
    """Identity in evaluation, dropout in training."""
    assert isinstance(layer.spec, inert.Dropout)
    return nn.Dropout(layer.spec.rate)


@BUILDERS.register(inert.Empty)
def build_empty(layer: Layer, _: Network) -> nn.Module:
    """Identity."""
    return nn.Identity()


class Zeros(nn.Module):
    """As many zeros as the input has values: a loss without a truth, as in C."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, values)."""
        return torch.zeros_like(x.flatten(1))


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(layer: Layer, _: Network) -> nn.Module:
    """Losses have no output of their own."""
    return Zeros()


class History(nn.Module):
    """The input, and zeros for the steps that one call does not have."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, size * C, H, W)."""
        return torch.cat([x, *[torch.zeros_like(x)] * (self.size - 1)], 1)


@BUILDERS.register(inert.History)
def build_history(layer: Layer, _: Network) -> nn.Module:
    """Room for several maps."""
    assert isinstance(layer.spec, inert.History)
    return History(layer.spec.history_size)
