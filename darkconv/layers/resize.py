"""The layer types upsample, reorg, reorg3d and crop."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, Dialect
from darkconv.core.options import Notes, option, option_place
from darkconv.core.section import Line
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.sizes import SizeError
from darkconv.core.spec import LayerSpec, Ties, layer, value_ties
from darkconv.errors import GraphError, Where

YOLOR_STRIDE = 2
"""The stride of every [reorg] in yolor."""


@layer("upsample")
@dataclass(frozen=True, kw_only=True)
class Upsample(LayerSpec):
    """Nearest-neighbour upsampling times `scale`; a negative stride sums blocks instead."""

    needs_map = True

    stride: int = option(2)
    scale: float = option(1.0)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return (c, h * stride, w * stride); a negative stride divides instead, rounding down."""
        (x,) = inputs
        if self.stride == 0:
            raise GraphError(where=Where(option="stride"), expected="not 0", found=0)
        if self.stride > 0:
            return Shape(x.c, x.h * self.stride, x.w * self.stride)
        return Shape(x.c, x.h // -self.stride, x.w // -self.stride)


@dataclass(frozen=True, kw_only=True)
class Reordering(LayerSpec):
    """A layer that only permutes values between channels and pixels."""

    needs_map = True
    binding = "moves whole blocks of channels into other channels"

    stride: int = option(1, minimum=1)
    reverse: bool = option(False)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return (c * s * s, h / s, w / s); in reverse (c / (s * s), h * s, w * s)."""
        (x,) = inputs
        block = self.stride**2
        if self.reverse:
            return Shape(x.c // block, x.h * self.stride, x.w * self.stride)
        return Shape(x.c * block, x.h // self.stride, x.w // self.stride)

    @property
    def counts_output(self) -> bool:
        """Return True if the index formula counts in the output's shape, and not in the input's."""
        return False

    @property
    def axes(self) -> tuple[int, ...]:
        """Return the order of the axes.

        They are (batch, q, h, s, w, s), and in reverse (batch, s, s, q, h, w).
        """
        return (0, 3, 4, 1, 5, 2) if self.reverse else (0, 3, 5, 1, 2, 4)

    def base_shape(self, x: Shape, out: Shape) -> Shape:
        """Return the shape in which the index formula counts.

        Args:
            x: shape of the input.
            out: shape of the output.
        """
        return out if self.counts_output else x

    def place_in_block(self, offset: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """Return row and column (from 0) within a block of s x s values.

        Args:
            offset: int64 index of the values within their block, from 0.
        """
        return offset // self.stride, offset % self.stride

    def check(self, *, divides: int, what: str, count: int) -> None:
        """Raise an error unless a count is divisible as the index formula needs.

        Args:
            divides: the divisor.
            what: name of the count, used in the message: "channels", "a height" or "a width".
            count: the number to divide.

        Raises:
            GraphError: the number of channels is not divisible.
            SizeError: the height or width is not divisible.
        """
        if count % divides:
            kind = GraphError if what == "channels" else SizeError
            raise kind(
                where=Where(option="stride"),
                expected=f"{what} that {divides} divides",
                found=count,
            )

    def source_index(self, x: Shape) -> npt.NDArray[np.int64]:
        """Return which input value each output value is.

        The formula is that of C's `reorg_cpu`: with q = c / (s * s), value k, j, i of the small map
        belongs to value k % q, j * s + (o / s), i * s + (o % s) of the large one, o = k / q.

        Args:
            x: shape of the input.

        Returns:
            int64 (output values,): flat indices into the input, from 0, in output order.
        """
        out = self.infer_shape((x,))
        base, s = self.base_shape(x, out), self.stride
        q = base.c // s**2
        k, j, i = np.ogrid[: base.c, : base.h, : base.w]
        row, column = self.place_in_block(k // q)
        row, column = j * s + row, i * s + column
        plane, pitch = base.h * s, base.w * s
        large: npt.NDArray[np.int64] = (column + pitch * (row + plane * (k % q))).ravel()
        if not self.reverse:
            return large
        index = np.empty_like(large)
        index[large] = np.arange(large.size)
        return index


@layer("reorg")
@dataclass(frozen=True, kw_only=True)
class Reorg(Reordering):
    """YOLOv2's passthrough: a permutation that counts as if the input were the small map.

    It is not space-to-depth: s * s consecutive channels are read as one large plane. pjreddie also
    has `flatten` (a transpose of channels and pixels) and `extra` (a plain vector with that many
    zeros after the input). yolor's reorg is a space-to-depth by 2 that goes through each block
    column by column and has no options.
    """

    flatten: bool = option(False, only=PJREDDIE)
    extra: int = option(0, minimum=0, only=PJREDDIE)

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options; yolor's stride is always 2."""
        spec = super().read(lines, dialect, where, notes)
        if not dialect.reorg_splits_space:
            return spec
        if "stride" in lines and spec.stride != YOLOR_STRIDE:
            text = f"is {YOLOR_STRIDE} in every [reorg] of the {dialect} dialect: ignored"
            notes.add(option_place(lines["stride"], where), text)
        if spec.reverse:
            text = f"not read in the {dialect} dialect, ignored"
            notes.add(option_place(lines["reverse"], where), text)
        return replace(spec, stride=YOLOR_STRIDE, reverse=False)

    @property
    def counts_output(self) -> bool:
        """Return True for yolor, whose reorg is a space-to-depth."""
        return self.dialect.reorg_splits_space

    @property
    def axes(self) -> tuple[int, ...]:
        """Return the order of the axes; yolor has columns before rows."""
        return (0, 5, 3, 1, 2, 4) if self.dialect.reorg_splits_space else super().axes

    def place_in_block(self, offset: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], ...]:
        """Return row and column; yolor goes through a block column by column."""
        row, column = super().place_in_block(offset)
        return (column, row) if self.dialect.reorg_splits_space else (row, column)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the reordering; a vector with `extra`."""
        (x,) = inputs
        if self.extra:
            return FlatShape.of(x.size + self.extra)
        if not (self.flatten or self.counts_output) or self.reverse:
            self.check(divides=self.stride**2, what="channels", count=x.c)
        if not self.reverse:
            self.check(divides=self.stride, what="a height", count=x.h)
            self.check(divides=self.stride, what="a width", count=x.w)
        return super().infer_shape(inputs)

    def source_index(self, x: Shape) -> npt.NDArray[np.int64]:
        """Return which input value each output value is; -1 for the zeros of `extra`."""
        values = np.arange(x.size)
        if self.extra:
            return np.concatenate([values, np.full(self.extra, -1)])
        if self.flatten:
            matrix = (x.h * x.w, x.c) if self.reverse else (x.c, x.h * x.w)
            return values.reshape(matrix).T.ravel()
        return super().source_index(x)

    def ties(self, inputs: Shapes) -> Ties:
        """Return ties of s * s consecutive channels, which form a plane, to s * s * s * s outputs.

        In reverse, s * s channels at distances of c / (s * s) form one output channel.
        """
        (x,) = inputs
        if self.extra:
            zeros = np.full((self.extra, 1), -1)
            return np.concatenate([value_ties(x), zeros])
        if self.flatten:
            return np.tile(np.arange(x.c), (self.infer_shape(inputs).c, 1))
        block = self.stride**2
        if self.counts_output:
            return same_channels(x, block)
        q = x.c // block
        if self.reverse:
            return np.add.outer(np.arange(q), q * np.arange(block))
        planes = np.arange(x.c * block) // block % q
        return np.add.outer(planes * block, np.arange(block))

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason with `flatten`: a transposed matrix has no channels."""
        return "it transposes channels and pixels" if self.flatten else ""


@layer("reorg3d", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Reorg3d(Reordering):
    """Space-to-depth: output channel k is channel k % c at row offset k / c / s, column % s.

    If s does not divide the map, rows and planes are counted in multiples of s, as in C. `reverse`
    is C's own formula, which is not the inverse.
    """

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the reordering."""
        if self.reverse:
            self.check(divides=self.stride**4, what="channels", count=inputs[0].c)
        return super().infer_shape(inputs)

    @property
    def counts_output(self) -> bool:
        """Return True."""
        return True

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of output channel k to input channel k % c.

        In reverse, the channels of s * s separate blocks of s * s are tied to s * s output
        channels.
        """
        (x,) = inputs
        block = self.stride**2
        if not self.reverse:
            return same_channels(x, block)
        q = x.c // block**2
        planes = np.arange(x.c // block) // block
        apart = np.add.outer(planes * block, q * block * np.arange(block))
        return np.add.outer(apart, np.arange(block)).reshape(len(planes), -1)

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: planes in multiples of s overlap if s does not divide the map."""
        (x,) = inputs
        if not self.reverse and (x.h % self.stride or x.w % self.stride):
            return "its stride does not divide the map, so that channels run into each other"
        return ""


def same_channels(x: Shape, block: int) -> Ties:
    """Return the ties of a space-to-depth: output channel k comes from input channel k % c.

    Args:
        x: shape of the input.
        block: number of values in a block, the square of the stride.
    """
    return (np.arange(x.c * block) % x.c).reshape(-1, 1)


@layer("crop")
@dataclass(frozen=True, kw_only=True)
class Crop(LayerSpec):
    """The middle of the feature map, scaled from 0..1 to -1..1 unless `noadjust` is set."""

    needs_map = True

    crop_height: int = option(1, minimum=1)
    crop_width: int = option(1, minimum=1)
    noadjust: bool = option(False)
    flip: bool = option(False, training=True)
    angle: float = option(0.0, training=True)
    saturation: float = option(1.0, training=True)
    exposure: float = option(1.0, training=True)
    shift: float = option(0.0, training=True)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return (c, crop_height, crop_width)."""
        (x,) = inputs
        if self.crop_height > x.h or self.crop_width > x.w:
            raise GraphError(
                where=Where(option="crop_height" if self.crop_height > x.h else "crop_width"),
                expected=f"at most the input's {x.w}x{x.h}",
                found=f"{self.crop_width}x{self.crop_height}",
            )
        return Shape(x.c, self.crop_height, self.crop_width)
