"""Builders of upsample, reorg, reorg3d and crop layers."""

from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.network import Layer, Network
from darkconv.layers import resize


class Upsample(nn.Module):
    """Nearest-neighbour enlargement, or with a negative stride sums of blocks, times a scale.

    Args:
        spec: options of the [upsample] layer.
    """

    def __init__(self, spec: resize.Upsample) -> None:
        super().__init__()
        self.stride = spec.stride
        self.scale = spec.scale

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, C, H * stride, W * stride) of an input (N, C, H, W)."""
        if self.stride > 0:
            out = F.interpolate(x, scale_factor=float(self.stride), mode="nearest")
        else:
            out = F.avg_pool2d(x, -self.stride, divisor_override=1)
        return out if self.scale == 1 else out * self.scale


@BUILDERS.register(resize.Upsample)
def build_upsample(layer: Layer, _: Network) -> nn.Module:
    """Build a nearest-neighbour enlargement, or sums of blocks, times a scale.

    Args:
        layer: [upsample] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, resize.Upsample)
    return Upsample(layer.spec)


class Reordering(nn.Module):
    """reorg and reorg3d: a permutation of six axes in memory order, NCHW.

    The flat values have the axes (q, h, s, w, s), which become (s, s, q, h, w), or the other way
    round: see `darkconv.layers.resize.Reordering.source_index`.

    Args:
        spec: options of the [reorg] or [reorg3d] layer.
    """

    def __init__(self, spec: resize.Reordering) -> None:
        super().__init__()
        self.stride = spec.stride
        self.is_reverse = spec.reverse
        self.counts_output, self.axes = spec.counts_output, spec.axes

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, C', H', W') of an input (N, C, H, W)."""
        batch, c, h, w = x.shape
        s = self.stride
        larger, smaller = (c // s**2, h * s, w * s), (c * s**2, h // s, w // s)
        out = larger if self.is_reverse else smaller
        base_c, base_h, base_w = out if self.counts_output else (c, h, w)
        values = x.flatten(1)[:, : base_c * base_h * base_w]
        q = base_c // s**2
        if self.is_reverse:
            blocks = values.reshape(batch, s, s, q, base_h, base_w)
        else:
            blocks = values.reshape(batch, q, base_h, s, base_w, s)
        return blocks.permute(self.axes).reshape(batch, *out)

    def extra_repr(self) -> str:
        """Return the stride and the direction."""
        return f"{self.stride}{', reverse' if self.is_reverse else ''}"


class Transposition(nn.Module):
    """pjreddie's reorg with flatten: channels and pixels change places.

    Args:
        layer: [reorg] layer with its output shape.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        assert isinstance(layer.spec, resize.Reorg)
        self.is_reverse = layer.spec.reverse
        self.out_shape = tuple(layer.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Transpose the matrix (channels, pixels), or with reverse (pixels, channels)."""
        batch, c, h, w = x.shape
        rows = (h * w, c) if self.is_reverse else (c, h * w)
        return x.reshape(batch, *rows).transpose(1, 2).reshape(batch, *self.out_shape)


class Extension(nn.Module):
    """pjreddie's reorg with extra: a vector with zeros after the input.

    Args:
        zeros: number of zeros.
    """

    def __init__(self, zeros: int) -> None:
        super().__init__()
        self.zeros = zeros

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, values + zeros) for an input (N, ...)."""
        return F.pad(x.flatten(1), (0, self.zeros))


@BUILDERS.register(resize.Reorg, resize.Reorg3d)
def build_reorg(layer: Layer, _: Network) -> nn.Module:
    """Build the reordering that the options ask for: in blocks, transposed, or with zeros appended.

    Args:
        layer: [reorg] or [reorg3d] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    spec = layer.spec
    assert isinstance(spec, resize.Reordering)
    if isinstance(spec, resize.Reorg) and spec.extra:
        return Extension(spec.extra)
    if isinstance(spec, resize.Reorg) and spec.flatten:
        return Transposition(layer)
    return Reordering(spec)


class Crop(nn.Module):
    """The middle of the picture, scaled from 0..1 to -1..1 unless noadjust is set.

    Args:
        spec: options of the [crop] layer.
    """

    def __init__(self, spec: resize.Crop) -> None:
        super().__init__()
        self.height, self.width = spec.crop_height, spec.crop_width
        self.adjusts = not spec.noadjust

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, crop_height, crop_width) of an input (N, C, H, W)."""
        top, left = (x.shape[2] - self.height) // 2, (x.shape[3] - self.width) // 2
        middle = x[:, :, top : top + self.height, left : left + self.width]
        return middle * 2 - 1 if self.adjusts else middle


@BUILDERS.register(resize.Crop)
def build_crop(layer: Layer, _: Network) -> nn.Module:
    """Build a centre crop, scaled from 0..1 to -1..1 unless noadjust is set.

    Args:
        layer: [crop] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, resize.Crop)
    return Crop(layer.spec)
