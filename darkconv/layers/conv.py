"""The layer types convolutional, deconvolutional and local."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.network import Layer, Network
from darkconv.core.options import option
from darkconv.core.shape import Shape, Shapes, truncated_div, window_count
from darkconv.core.spec import (
    ONE,
    ZERO,
    Doubles,
    Initial,
    LayerSpec,
    Remark,
    Slot,
    Slots,
    Ties,
    layer,
)
from darkconv.errors import GraphError, Where
from darkconv.layers.activation import activation_option
from darkconv.layers.window import BLUR_KERNELS, Strided, blurred_shape


def new_channels(count: int) -> Ties:
    """Return the ties of a layer that makes new output channels.

    Args:
        count: number of output channels.
    """
    return np.empty((count, 0), dtype=np.int64)


def norm_slots(channels: int, *, stored: int | None = None) -> Slots:
    """Return the slots of the three batch norm arrays in file order.

    Args:
        channels: number of output channels of the layer.
        stored: number of leading values that a weights file holds; None for all.
    """
    names = (("scales", ONE), ("rolling_mean", ZERO), ("rolling_variance", ZERO))
    return tuple(Slot(name, (channels,), start, stored=stored) for name, start in names)


@dataclass(frozen=True, kw_only=True)
class Windowed(Strided):
    """Options shared by the layers with a kernel and the same padding on all sides."""

    filters: int = option(1, minimum=1)
    size: int = option(1, minimum=1)
    pad: bool = option(False)
    padding: int = option(0, minimum=0)
    activation: str = activation_option("logistic")
    batch_normalize: bool = option(False)

    @property
    def border(self) -> int:
        """Return the padding in pixels on each side: half the kernel if `pad`, else `padding`."""
        return self.size // 2 if self.pad else self.padding


@layer("convolutional", "conv")
@dataclass(frozen=True, kw_only=True)
class Convolutional(Windowed):
    """Cross-correlation, then batch norm or bias, then activation: (c, h, w) -> (filters, ...).

    `dilation` spreads the taps and multiplies the padding, but does not affect the output size, as
    in C. With `antialiasing` the convolution has stride 1 and a blur applies the stride; readers of
    the layer get the blurred map (C's routes assume a wrong size). 1x1 kernels with a stride are
    computed correctly; C reads wrong pixels there. If the groups do not divide the input channels,
    each group reads the quotient rounded down, and the remaining channels are not read.
    """

    binding = "convolves its groups apart"

    groups: int = option(1)
    flipped: bool = option(False)
    binary: bool = option(False)
    xnor: bool = option(False)
    dot: float = option(0.0, training=True)
    dilation: int = option(1, minimum=1, only=ALEXEYAB)
    antialiasing: int = option(0, minimum=0, maximum=2, only=ALEXEYAB)
    share_index: int | None = option(None, only=ALEXEYAB)
    cbn: bool = option(False, only=ALEXEYAB)
    bin_output: bool = option(False, only=ALEXEYAB)
    assisted_excitation: float = option(0.0, only=ALEXEYAB, training=True)
    sway: bool = option(False, only=ALEXEYAB, training=True)
    rotate: bool = option(False, only=ALEXEYAB, training=True)
    stretch: bool = option(False, only=ALEXEYAB, training=True)
    stretch_sway: bool = option(False, only=ALEXEYAB, training=True)
    angle: float = option(15.0, only=ALEXEYAB, training=True)
    grad_centr: bool = option(False, only=ALEXEYAB, training=True)
    reverse: float = option(0.0, only=ALEXEYAB, training=True)
    coordconv: bool = option(False, only=ALEXEYAB, training=True)
    stream: int = option(-1, only=ALEXEYAB, training=True)
    wait_stream: int = option(-1, only=ALEXEYAB, training=True)

    @property
    def is_normalized(self) -> bool:
        """Return True if there is batch norm between convolution and activation."""
        return self.batch_normalize or self.cbn

    @property
    def group_count(self) -> int:
        """Return the number of groups in effect; alexeyab's program takes values below 1 as 1."""
        return 1 if self.xnor and self.dialect.xnor_uses_folded_weights else max(self.groups, 1)

    def read_channels(self, channels: int) -> npt.NDArray[np.int64]:
        """Return the input channels that each group reads.

        Args:
            channels: number of input channels.

        Returns:
            int64 (groups, channels per group) channel indices, from 0.
        """
        count = self.group_count
        each, group = channels // count, np.arange(count)
        starts = group * channels // count if self.dialect.groups_spread else group * each
        found: npt.NDArray[np.int64] = starts[:, None] + np.arange(each)
        return found

    def read_spans(self, channels: int) -> list[tuple[int, int]]:
        """Return the consecutive runs of input channels that are read.

        Args:
            channels: number of input channels.

        Returns:
            (start, end) of each run; channel indices count from 0, and end is exclusive.
        """
        if channels % self.group_count == 0:
            return [(0, channels)]
        read = self.read_channels(channels).ravel()
        runs = np.split(read, np.flatnonzero(np.diff(read) != 1) + 1)
        return [(int(run[0]), int(run[-1]) + 1) for run in runs]

    @property
    def tap_distance(self) -> int:
        """Return the dilation in effect; a 1x1 kernel has none."""
        return 1 if self.size == 1 else self.dilation

    def shared_layer(self, index: int) -> int | None:
        """Return the index of the layer that `share_index` names; negative values are relative."""
        if self.share_index is None or self.share_index >= 0:
            return self.share_index
        return index + self.share_index

    def unblurred_shape(self, inputs: Shapes) -> Shape:
        """Return the output shape of the convolution itself, before the blur of antialiasing.

        Args:
            inputs: shape of the one input.
        """
        (x,) = inputs
        vertical, horizontal = (1, 1) if self.antialiasing else self.strides
        rows = window_count(x.h, self.size, vertical, 2 * self.border)
        columns = window_count(x.w, self.size, horizontal, 2 * self.border)
        return Shape(self.filters, rows, columns)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return `filters` channels and the number of window positions along each axis."""
        (x,) = inputs
        self._check_groups(x.c)
        if self.numload > self.filters:
            raise GraphError(
                where=Where(option="numload"),
                expected=f"at most filters={self.filters}",
                found=self.numload,
            )
        if self.tap_distance > 1 and 2 * self.border != self.size - 1:
            raise GraphError(
                where=Where(option="dilation"),
                expected=f"a padding of {(self.size - 1) / 2:g}, half the kernel",
                found=self.border,
                hint="C mixes two output sizes otherwise, and its result is undefined",
            )
        sharp = self.unblurred_shape(inputs)
        if not self.antialiasing:
            return sharp
        return blurred_shape(sharp, self.antialiasing, self.strides)

    def _check_groups(self, channels: int) -> None:
        """Raise an error for groups with which C divides by 0, reads nothing or mixes filters."""
        expected = ""
        if self.groups < 1 and self.dialect == PJREDDIE:
            expected = "1 or more"
        elif self.group_count > channels:
            expected = f"at most {channels}, the input channels"
        elif self.filters % self.group_count:
            expected = f"a divisor of {self.filters} filters"
        if expected:
            raise GraphError(where=Where(option="groups"), expected=expected, found=self.groups)

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return remarks on where C reads other channels or pixels than one would expect."""
        moves = (self.stride, self.stride_x, self.stride_y, self.padding) != (1, 1, 1, 0)
        if self.groups == 1 and not self.xnor and (self.size > 1 or not moves):
            return ()
        return tuple(self._remarks(inputs[0]))

    def _remarks(self, x: Shape) -> Iterator[Remark]:
        count = self.group_count
        if self.groups < 1:
            yield Remark("groups", f"{self.groups} is 1, as in C")
        if x.c % count:
            each = x.c // count
            text = f"{count} groups do not divide {x.c} input channels: each reads {each}, as in C"
            if self.size**2 * x.c // count != self.size**2 * each:
                text += ", whose product also takes in memory behind them; this one does not"
            yield Remark("groups", text)
        if self.xnor and self.dialect.xnor_uses_folded_weights and len(set(self.strides)) > 1:
            yield Remark(
                "xnor",
                "computed as with equal strides; C writes past its memory where they differ",
            )
        if self._takes_map_as_it_lies and (max(self.strides) > 1 or self.border):
            yield Remark(
                "",
                "a kernel of size=1 moves over the map by its stride and padding here; "
                "C's CPU code takes no account of them and reads other pixels",
            )

    @property
    def _takes_map_as_it_lies(self) -> bool:
        """Return True if C multiplies the map as it is stored, without gathering windows."""
        if self.size > 1 or self.antialiasing:
            return False
        return self.dialect.pointwise_ignores_strides or self.strides[1] == 1

    def slots(self, inputs: Shapes) -> Slots:
        """Return biases, batch norm and weights (filters, channels / groups, size, size)."""
        return self._all_slots(inputs) if self.share_index is None else ()

    def borrowed_slots(self, inputs: Shapes) -> Slots:
        """Return the same slots for the arrays of the shared layer."""
        return self._all_slots(inputs)

    def _all_slots(self, inputs: Shapes) -> Slots:
        (x,) = inputs
        stored = self.numload or None
        shape = (self.filters, x.c // self.group_count, self.size, self.size)
        noise = "uniform" if self.dialect.follows(ALEXEYAB) else "normal"
        start = Initial(spread=math.sqrt(2 / math.prod(shape[1:])), noise=noise)
        slots = [Slot("biases", (self.filters,), stored=stored)]
        if self.is_normalized:
            slots += norm_slots(self.filters, stored=0 if self.dontloadscales else stored)
        order = "flipped" if self.flipped else "plain"
        in_axis = 1 if self.group_count == 1 else None
        return (*slots, Slot("weights", shape, start, order, stored, in_axis=in_axis))

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: xnor has no sign for 0, or the groups do not divide the channels."""
        if inputs[0].c % self.group_count:
            return "its groups do not divide its input channels"
        return "xnor takes a channel of zeros for one of -1" if self.xnor else ""

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties: new channels, or with groups ties between all channels of a group."""
        if self.group_count == 1:
            return new_channels(self.filters)
        group = np.arange(self.filters) // (self.filters // self.group_count)
        return self.read_channels(inputs[0].c)[group]

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `filters`; groups keep their size, and all filters are stored."""
        options = {"filters": outputs}
        if self.group_count > 1:
            options["groups"] = outputs * self.group_count // self.filters
        return {**options, "numload": 0} if self.numload else options

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return kernel values times window positions, plus the operations of the blur."""
        per_filter = inputs[0].c // self.group_count * self.size**2
        blur = len(BLUR_KERNELS.get(self.antialiasing, ())) ** 2 * output.size
        return per_filter * self.unblurred_shape(inputs).size + blur


def inference_activation(layer: Layer, network: Network) -> str:
    """Return the activation in effect: alexeyab's xnor layers with `bin_output` drop theirs.

    They drop it if only the signs of their output are used: no route, shortcut, scale_channels or
    sam reads the layer.

    Args:
        layer: a convolutional layer.
        network: the network of the layer.
    """
    spec = layer.spec
    assert isinstance(spec, Convolutional)
    if not (spec.bin_output and spec.xnor):
        return spec.activation
    readers = {network.layers[index].type for index in network.consumers[layer.index]}
    is_read = readers & {"route", "shortcut", "scale_channels", "sam"}
    return spec.activation if is_read else "linear"


@layer("deconvolutional", "deconv", only=PJREDDIE)
@dataclass(frozen=True, kw_only=True)
class Deconvolutional(Windowed):
    """Transposed convolution, then batch norm or bias, then activation."""

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return `filters` channels and (in - 1) * stride + size - 2 * padding along each axis."""
        (x,) = inputs
        rows, columns = (
            (length - 1) * self.stride + self.size - 2 * self.border for length in (x.h, x.w)
        )
        return Shape(self.filters, rows, columns)

    def slots(self, inputs: Shapes) -> Slots:
        """Return biases, batch norm and weights (channels, filters, size, size)."""
        stored = 0 if self.dontloadscales else None
        norm = norm_slots(self.filters, stored=stored) if self.batch_normalize else ()
        shape = (inputs[0].c, self.filters, self.size, self.size)
        start = Initial(spread=0.02, noise="normal")
        kernel = Slot("weights", shape, start, out_axis=1, in_axis=0)
        return (Slot("biases", (self.filters,)), *norm, kernel)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of new channels."""
        return new_channels(self.filters)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `filters`."""
        return {"filters": outputs}

    def constant_response(self, weights: Doubles, values: Doubles) -> Doubles:
        """Return the response; each output value meets only one in stride² kernel values."""
        response: Doubles = super().constant_response(weights, values) / self.stride**2
        return response

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return input values times kernel values per input channel."""
        return inputs[0].size * self.filters * self.size**2


@layer("local")
@dataclass(frozen=True, kw_only=True)
class Local(LayerSpec):
    """A convolution with separate weights at every output position.

    `pad` is the zero padding in pixels, and also switches the output size to that of "same"
    padding. C is consistent only if the two agree (pad=1 with size=3).
    """

    needs_map = True

    filters: int = option(1, minimum=1)
    size: int = option(1, minimum=1)
    stride: int = option(1, minimum=1)
    pad: int = option(0, minimum=0)
    activation: str = activation_option("logistic")

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return `filters` channels and the number of window positions along each axis.

        Without pad it is (in - size) / stride + 1, with pad (in - 1) / stride + 1.
        """
        (x,) = inputs
        window = 1 if self.pad else self.size
        rows, columns = (truncated_div(n - window, self.stride) + 1 for n in (x.h, x.w))
        reach = 2 * self.pad - self.size
        if (rows - 1) * self.stride > x.h + reach or (columns - 1) * self.stride > x.w + reach:
            raise GraphError(
                where=Where(option="pad"),
                expected=f"(size - 1) / 2 = {(self.size - 1) // 2}, or 0",
                found=self.pad,
                hint="with another value the windows leave the padded map",
            )
        return Shape(self.filters, rows, columns)

    def slots(self, inputs: Shapes) -> Slots:
        """Return biases (outputs,) and weights (positions, filters, channels, size, size)."""
        out = self.infer_shape(inputs)
        shape = (out.h * out.w, self.filters, inputs[0].c, self.size, self.size)
        start = Initial(spread=math.sqrt(2 / math.prod(shape[2:])), noise="uniform")
        banks = Slot("weights", shape, start, out_axis=1, in_axis=2)
        return (Slot("biases", (out.size,)), banks)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of new channels."""
        return new_channels(self.filters)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `filters`."""
        return {"filters": outputs}

    def constant_response(self, weights: Doubles, values: Doubles) -> Doubles:
        """Return the response as (filters, positions), as each position has its own weights."""
        taps = weights.sum(axis=(3, 4))  # shape (filters, channels, positions)
        response: Doubles = np.einsum("oip,i->op", taps, values)
        return response

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return the number of kernel values times window positions."""
        return output.size * inputs[0].c * self.size**2
