"""Builders of maxpool, avgpool and local_avgpool layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.backends.torch.conv import Blur
from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.network import Layer, Network
from darkconv.layers import pool


def lowest(x: Tensor) -> float:
    """Return the start value of a maximum: -FLT_MAX in C, and the lowest value of another dtype.

    Args:
        x: tensor whose dtype counts.
    """
    return torch.finfo(x.dtype).min


class Maxpool(nn.Module):
    """Largest value of each window; see `darkconv.layers.pool.Maxpool`.

    Args:
        spec: options of the [maxpool] layer.
    """

    def __init__(self, spec: pool.Maxpool) -> None:
        super().__init__()
        self.size = spec.size
        self.strides = (1, 1) if spec.antialiasing else spec.strides
        self.leading, self.trailing = spec.leading, spec.padding - spec.leading
        # PyTorch pads by itself if both sides are alike and no window lies wholly outside
        self.is_symmetric = self.leading == self.trailing and self.leading <= self.size // 2
        # if all padding is at the end and less than a window, its ceil_mode gives the same
        self.is_ceiled = (
            self.leading == 0
            and 0 < self.trailing < self.size
            and all(stride == self.trailing + 1 for stride in self.strides)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, C, H', W') of an input (N, C, H, W)."""
        if self.is_symmetric:
            return F.max_pool2d(x, self.size, self.strides, self.leading)
        if self.is_ceiled:
            return F.max_pool2d(x, self.size, self.strides, ceil_mode=True)
        sides = (self.leading, self.trailing) * 2
        return F.max_pool2d(F.pad(x, sides, value=lowest(x)), self.size, self.strides)

    def extra_repr(self) -> str:
        """Return the window size, strides and padding."""
        return f"{self.size}, stride={self.strides}, padding=({self.leading}, {self.trailing})"


class DepthMaxpool(nn.Module):
    """Largest value of the input channels i, i + groups, i + 2 groups, ... for output channel i.

    Args:
        groups: number of output channels.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, groups, H, W) of an input (N, C, H, W)."""
        missing = -x.shape[1] % self.groups
        padded = F.pad(x, (0, 0, 0, 0, 0, missing), value=lowest(x))
        return padded.unflatten(1, (-1, self.groups)).amax(1)


@BUILDERS.register(pool.Maxpool)
def build_maxpool(layer: Layer, _: Network) -> nn.Module:
    """Build a max pooling, over windows or over channels, and its blur.

    Args:
        layer: [maxpool] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    spec = layer.spec
    assert isinstance(spec, pool.Maxpool)
    if spec.maxpool_depth:
        return DepthMaxpool(spec.out_channels)
    if not spec.antialiasing:
        return Maxpool(spec)
    blur = Blur(spec.antialiasing, layer.out_shape.c, spec.strides)
    return nn.Sequential(Maxpool(spec), blur)


class LocalAvgpool(nn.Module):
    """Mean of each window over the cells inside the feature map.

    Args:
        spec: options of the [local_avgpool] layer.
    """

    def __init__(self, spec: pool.LocalAvgpool) -> None:
        super().__init__()
        self.size = spec.size
        self.strides = spec.strides
        self.sides = (spec.leading, spec.padding - spec.leading) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, C, H', W') of an input (N, C, H, W)."""
        return self._sums(x) / self._sums(torch.ones_like(x[:1, :1]))

    def _sums(self, x: Tensor) -> Tensor:
        padded = F.pad(x, self.sides)
        return F.avg_pool2d(padded, self.size, self.strides, divisor_override=1)


@BUILDERS.register(pool.LocalAvgpool)
def build_local_avgpool(layer: Layer, _: Network) -> nn.Module:
    """Build an average pooling over the cells of each window that are inside the feature map.

    Args:
        layer: [local_avgpool] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, pool.LocalAvgpool)
    return LocalAvgpool(layer.spec)


class Avgpool(nn.Module):
    """Mean of each channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, C, 1, 1) of an input (N, C, H, W)."""
        return x.mean((2, 3), keepdim=True)


@BUILDERS.register(pool.Avgpool)
def build_avgpool(layer: Layer, _: Network) -> nn.Module:
    """Build a global average pooling.

    Args:
        layer: [avgpool] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Avgpool()
