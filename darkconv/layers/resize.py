"""upsample, reorg, reorg3d, crop."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.options import option
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import LayerSpec, Ties, layer
from darkconv.errors import GraphError, Where


@layer("upsample")
@dataclass(frozen=True, kw_only=True)
class Upsample(LayerSpec):
    """Nearest-neighbour enlargement times `scale`; a negative stride sums blocks instead."""

    needs_map = True

    stride: int = option(2)
    scale: float = option(1.0)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """(c, h * stride, w * stride), or divided by -stride, rounded down."""
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

    stride: int = option(1, minimum=1)
    reverse: bool = option(False)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """(c * s * s, h / s, w / s); in reverse (c / (s * s), h * s, w * s)."""
        (x,) = inputs
        block = self.stride**2
        if self.reverse:
            return Shape(x.c // block, x.h * self.stride, x.w * self.stride)
        return Shape(x.c * block, x.h // self.stride, x.w // self.stride)

    def base_shape(self, x: Shape, out: Shape) -> Shape:
        """The shape that the index formula counts in."""
        return x

    def check(self, *, divides: int, what: str, count: int) -> None:
        """Raise unless the formula comes out even."""
        if count % divides:
            raise GraphError(
                where=Where(option="stride"),
                expected=f"{what} that {divides} divides",
                found=count,
            )

    def source_index(self, x: Shape) -> npt.NDArray[np.int64]:
        """Which input value each output value is: flat indices, in output order.

        C's `reorg_cpu`: with q = c / (s * s), value k, j, i of the small map belongs to value
        k % q, j * s + (o / s), i * s + (o % s) of the large one, o = k / q.
        """
        out = self.infer_shape((x,))
        base, s = self.base_shape(x, out), self.stride
        q = base.c // s**2
        k, j, i = np.ogrid[: base.c, : base.h, : base.w]
        offset = k // q
        row, column = j * s + offset // s, i * s + offset % s
        plane, pitch = base.h * s, base.w * s
        large: npt.NDArray[np.int64] = (column + pitch * (row + plane * (k % q))).ravel()
        if not self.reverse:
            return large
        index = np.empty_like(large)
        index[large] = np.arange(large.size)
        return index

    def ties(self, inputs: Shapes) -> Ties:
        """Every input channel that a value of the output channel comes from."""
        (x,) = inputs
        out = self.infer_shape(inputs)
        channel = self.source_index(x).reshape(out.c, -1) // (x.h * x.w)
        rows = [np.unique(values) for values in channel]
        ties = np.full((out.c, max(map(len, rows))), -1)
        for row, values in zip(ties, rows, strict=True):
            row[: len(values)] = values
        return ties


@layer("reorg")
@dataclass(frozen=True, kw_only=True)
class Reorg(Reordering):
    """YOLOv2's passthrough: a gather that counts as if the input were the small map.

    It is not space-to-depth: s * s consecutive channels are read as one large plane.
    pjreddie also knows `flatten` (transpose of channels and pixels) and `extra` (a plain
    vector with that many zeros behind the input).
    """

    flatten: bool = option(False, only=PJREDDIE)
    extra: int = option(0, minimum=0, only=PJREDDIE)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """As for both reorderings; a vector with `extra`."""
        (x,) = inputs
        if self.extra:
            return FlatShape.of(x.size + self.extra)
        if not self.flatten or self.reverse:
            self.check(divides=self.stride**2, what="channels", count=x.c)
        if not self.reverse:
            self.check(divides=self.stride, what="a height", count=x.h)
            self.check(divides=self.stride, what="a width", count=x.w)
        return super().infer_shape(inputs)

    def source_index(self, x: Shape) -> npt.NDArray[np.int64]:
        """Which input value each output value is; -1 for the zeros of `extra`."""
        values = np.arange(x.size)
        if self.extra:
            return np.concatenate([values, np.full(self.extra, -1)])
        if self.flatten:
            matrix = (x.h * x.w, x.c) if self.reverse else (x.c, x.h * x.w)
            return values.reshape(matrix).T.ravel()
        return super().source_index(x)

    def ties(self, inputs: Shapes) -> Ties:
        """The channels read; a vector of values with `extra`."""
        if self.extra:
            index = self.source_index(inputs[0])
            plane = inputs[0].h * inputs[0].w
            return np.where(index < 0, -1, index // plane).reshape(-1, 1)
        return super().ties(inputs)


@layer("reorg3d", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Reorg3d(Reordering):
    """Space-to-depth: output channel k is channel k % c at row offset k / c / s, column % s.

    Where s does not divide the map, rows and planes are counted in multiples of s, as in C.
    `reverse` is C's own formula, which is not the inverse.
    """

    def infer_shape(self, inputs: Shapes) -> Shape:
        """As for both reorderings."""
        if self.reverse:
            self.check(divides=self.stride**4, what="channels", count=inputs[0].c)
        return super().infer_shape(inputs)

    def base_shape(self, x: Shape, out: Shape) -> Shape:
        """The output's."""
        return out


@layer("crop")
@dataclass(frozen=True, kw_only=True)
class Crop(LayerSpec):
    """The middle of the map, mapped from 0..1 to -1..1 unless `noadjust`."""

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
        """(c, crop_height, crop_width)."""
        (x,) = inputs
        if self.crop_height > x.h or self.crop_width > x.w:
            raise GraphError(
                where=Where(option="crop_height" if self.crop_height > x.h else "crop_width"),
                expected=f"at most the input's {x.w}x{x.h}",
                found=f"{self.crop_width}x{self.crop_height}",
            )
        return Shape(x.c, self.crop_height, self.crop_width)
