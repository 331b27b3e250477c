"""Builders of convolutional, deconvolutional and local layers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.backends.registry import ParameterTable
from darkconv.backends.torch.activation import build_activation
from darkconv.backends.torch.norm import BatchNorm, norm_table
from darkconv.backends.torch.registry import BUILDERS, PARAMETERS
from darkconv.core.network import Layer, Network
from darkconv.layers import conv
from darkconv.layers.window import BLUR_BORDERS, BLUR_KERNELS


class Block(nn.Module):
    """A convolution, its batch norm or bias, its activation and, with antialiasing, its blur.

    Args:
        kernel: the convolution, with its bias unless batch norm follows.
        norm: batch norm, or the identity.
        act: activation function, which may overwrite its input.
        blur: filter that follows with antialiasing; None for none.
    """

    def __init__(
        self, kernel: nn.Module, norm: nn.Module, act: nn.Module, blur: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = kernel
        self.bn = norm
        self.act = act
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (N, filters, H', W') of an input (N, C, H, W)."""
        x = self.act(self.bn(self.conv(x)))
        return x if self.blur is None else self.blur(x)


class Blur(nn.Module):
    """The depthwise low-pass filter of antialiasing, with the layer's strides.

    Args:
        kind: value of `antialiasing`, which selects the filter.
        channels: number of channels.
        strides: strides along rows and columns.
    """

    kernel: Tensor

    def __init__(self, kind: int, channels: int, strides: tuple[int, int]) -> None:
        super().__init__()
        kernel = torch.tensor(BLUR_KERNELS[kind], dtype=torch.float32, device="cpu")
        kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1)
        self.register_buffer("kernel", kernel.contiguous(), persistent=False)
        self.strides = strides
        self.border = BLUR_BORDERS[kind]

    def forward(self, x: Tensor) -> Tensor:
        """Filter each channel by itself: (N, C, H, W) to (N, C, H', W')."""
        return F.conv2d(x, self.kernel, None, self.strides, self.border, groups=x.shape[1])


class Conv2d(nn.Conv2d):
    """PyTorch's convolution, except that it draws no initial values on the meta device.

    Attributes:
        spans: (start, end) of each run of input channels that is read, if the groups do not divide
            the channels; otherwise empty.
    """

    spans: Sequence[tuple[int, int]] = ()

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve the channels that are read."""
        if self.spans:
            x = torch.cat([x[:, start:end] for start, end in self.spans], 1)
        return super()._conv_forward(x, weight, bias)

    def reset_parameters(self) -> None:
        """Draw initial values; not on the meta device, since the arrays of a model follow."""
        if not self.weight.is_meta:
            super().reset_parameters()


class XnorConv2d(Conv2d):
    """pjreddie's xnor: inputs become signs, and each filter its signs times its mean magnitude."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the product of signs; padding stays zero.

        Args:
            x: feature map (N, C, H, W).
        """
        mean = self.weight.abs().mean((1, 2, 3)).view(1, -1, 1, 1)
        out = self._conv_forward(signs(x), signs(self.weight), None) * mean
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)


class FoldedXnorBlock(Block):
    """alexeyab's xnor: signs of the weights with folded batch norm; padding counts as -1."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute mean * sum(sign * sign) + folded bias, as the bit-packed code does."""
        assert isinstance(self.conv, nn.Conv2d)
        weight, bias = self._folded()
        padded = F.pad(signs(x), [int(self.conv.padding[0])] * 4, value=-1.0)
        out = F.conv2d(padded, signs(weight), None, self.conv.stride, 0, self.conv.dilation)
        out = out * weight.abs().mean((1, 2, 3)).view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
        out = self.act(out)
        return out if self.blur is None else self.blur(out)

    def _folded(self) -> tuple[Tensor, Tensor]:
        """Fold the batch norm in double precision, as in C, and return weights and biases."""
        assert isinstance(self.conv, nn.Conv2d)
        if not isinstance(self.bn, BatchNorm):
            assert self.conv.bias is not None
            return self.conv.weight, self.conv.bias
        norm = self.bn
        assert norm.running_mean is not None
        assert norm.running_var is not None
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight = self.conv.weight.double() * factor.view(-1, 1, 1, 1)
        bias = norm.bias.double() - norm.running_mean.double() * factor
        return weight.to(norm.weight.dtype), bias.to(norm.weight.dtype)


def signs(x: Tensor) -> Tensor:
    """Return 1 for each value above zero, otherwise -1, in the dtype of x.

    Args:
        x: tensor of any shape.
    """
    return torch.where(x > 0, 1.0, -1.0).to(x.dtype)


@BUILDERS.register(conv.Convolutional)
def build_convolutional(layer: Layer, network: Network) -> nn.Module:
    """Build a convolution, its batch norm or bias, its activation and its blur.

    Args:
        layer: [convolutional] layer with its options and input shapes.
        network: its network: which layers read this one decides whether `bin_output` drops the
            activation.
    """
    spec = layer.spec
    assert isinstance(spec, conv.Convolutional)
    kind = XnorConv2d if spec.xnor and not spec.dialect.xnor_uses_folded_weights else Conv2d
    channels = layer.in_shapes[0].c
    kernel = kind(
        channels // spec.group_count * spec.group_count,
        spec.filters,
        spec.size,
        (1, 1) if spec.antialiasing else spec.strides,
        spec.border * spec.tap_distance,
        spec.tap_distance,
        spec.group_count,
        bias=not spec.is_normalized,
    )
    if channels % spec.group_count:
        kernel.spans = spec.read_spans(channels)
    block = FoldedXnorBlock if spec.xnor and kind is Conv2d else Block
    return block(
        kernel,
        BatchNorm(spec.filters, spec.dialect, own_input=True)
        if spec.is_normalized
        else nn.Identity(),
        build_activation(conv.inference_activation(layer, network), own_input=True),
        Blur(spec.antialiasing, spec.filters, spec.strides) if spec.antialiasing else None,
    )


@PARAMETERS.register(conv.Convolutional, conv.Deconvolutional)
def convolutional_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a convolution; batch norm, if any, has the biases.

    Args:
        layer: [convolutional] or [deconvolutional] layer.
    """
    spec = layer.spec
    assert isinstance(spec, conv.Windowed)
    if has_norm(spec):
        return {"weights": "conv.weight", **norm_table("bn")}
    return {"weights": "conv.weight", "biases": "conv.bias"}


def has_norm(spec: conv.Windowed) -> bool:
    """Return True if batch norm follows the convolution.

    Args:
        spec: options of a [convolutional] or [deconvolutional] layer.
    """
    return spec.is_normalized if isinstance(spec, conv.Convolutional) else spec.batch_normalize


@BUILDERS.register(conv.Deconvolutional)
def build_deconvolutional(layer: Layer, _: Network) -> nn.Module:
    """Build a transposed convolution, its batch norm or bias, and its activation.

    Args:
        layer: [deconvolutional] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    spec = layer.spec
    assert isinstance(spec, conv.Deconvolutional)
    kernel = nn.ConvTranspose2d(
        layer.in_shapes[0].c,
        spec.filters,
        spec.size,
        spec.stride,
        spec.border,
        bias=not spec.batch_normalize,
    )
    norm = (
        BatchNorm(spec.filters, spec.dialect, own_input=True)
        if spec.batch_normalize
        else nn.Identity()
    )
    act = build_activation(spec.activation, own_input=True)
    return Block(kernel, norm, act)


class Local(nn.Module):
    """A locally connected layer: filters of its own at every output position.

    Args:
        layer: [local] layer with its shapes and slots.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        spec = layer.spec
        assert isinstance(spec, conv.Local)
        biases, weights = layer.slots
        self.spec = spec
        self.out_shape = layer.out_shape
        self.weight = nn.Parameter(torch.empty(weights.shape))
        self.bias = nn.Parameter(torch.empty(biases.shape))
        self.act = build_activation(spec.activation, own_input=True)

    def forward(self, x: Tensor) -> Tensor:
        """Compute one matrix product per output position: (N, C, H, W) to (N, filters, H', W')."""
        spec, (filters, rows, columns) = self.spec, self.out_shape
        padded = F.pad(x, [spec.pad] * 4)
        windows = padded.unfold(2, spec.size, spec.stride).unfold(3, spec.size, spec.stride)
        windows = windows[:, :, :rows, :columns].permute(2, 3, 0, 1, 4, 5)
        patches = windows.reshape(rows * columns, x.shape[0], -1)
        out = torch.bmm(patches, self.weight.flatten(2).transpose(1, 2))
        out = out.permute(1, 2, 0).reshape(-1, filters, rows, columns)
        return self.act(out + self.bias.view(1, filters, rows, columns))


@BUILDERS.register(conv.Local)
def build_local(layer: Layer, _: Network) -> nn.Module:
    """Build a locally connected layer and its activation.

    Args:
        layer: [local] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    return Local(layer)


@PARAMETERS.register(conv.Local)
def local_parameters(layer: Layer) -> ParameterTable:
    """Return the parameter table of a locally connected layer.

    Args:
        layer: [local] layer.
    """
    return {"biases": "bias", "weights": "weight"}
