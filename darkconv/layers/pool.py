"""The layer types maxpool, avgpool and local_avgpool."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darkconv.core.dialect import ALEXEYAB
from darkconv.core.options import option
from darkconv.core.shape import Shape, Shapes, window_count
from darkconv.core.spec import LayerSpec, Ties, layer
from darkconv.errors import GraphError, Where
from darkconv.layers.window import Strided, blurred_shape


@dataclass(frozen=True, kw_only=True)
class Pooling(Strided):
    """Pooling in which `padding` is the total of both sides; windows start at -padding / 2."""

    size: int = option(lambda o: o["stride"], minimum=1)
    padding: int = option(lambda o: o["size"] - 1, minimum=0)

    @property
    def leading(self) -> int:
        """Return the padding above and on the left; the rest is below and on the right."""
        return self.padding // 2

    def pooled_shape(self, inputs: Shapes, strides: tuple[int, int]) -> Shape:
        """Return the shape after pooling with the given strides.

        Args:
            inputs: shape of the one input.
            strides: (vertical, horizontal).
        """
        (x,) = inputs
        rows = window_count(x.h, self.size, strides[0], self.padding)
        columns = window_count(x.w, self.size, strides[1], self.padding)
        return Shape(x.c, rows, columns)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape with (in + padding - size) / stride + 1 positions along each axis."""
        return self.pooled_shape(inputs, self.strides)


@layer("maxpool", "max")
@dataclass(frozen=True, kw_only=True)
class Maxpool(Pooling):
    """The largest value of each window; pixels outside the feature map do not count.

    A window that lies wholly outside gives -FLT_MAX. `maxpool_depth` pools over channels instead:
    output g is the largest of the channels k with k % out_channels == g. `antialiasing` pools with
    stride 1 and lets a blur apply the stride.
    """

    maxpool_depth: bool = option(False, only=ALEXEYAB)
    out_channels: int = option(1, minimum=1, only=ALEXEYAB)
    antialiasing: int = option(0, minimum=0, maximum=2, only=ALEXEYAB)
    maxpool_zero_nonmax: bool = option(False, only=ALEXEYAB, training=True)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the pooled shape; with maxpool_depth, the same map of `out_channels` channels."""
        (x,) = inputs
        if self.maxpool_depth:
            if self.out_channels > x.c:
                raise GraphError(
                    where=Where(option="out_channels"),
                    expected=f"at most {x.c}, the input's channels",
                    found=self.out_channels,
                )
            return Shape(self.out_channels, x.h, x.w)
        if not self.antialiasing:
            return super().infer_shape(inputs)
        sharp = self.pooled_shape(inputs, (1, 1))
        return blurred_shape(sharp, self.antialiasing, self.strides)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of each channel to itself; with maxpool_depth, to one in out_channels."""
        if not self.maxpool_depth:
            return super().ties(inputs)
        channels, groups = inputs[0].c, self.out_channels
        rounds = np.arange(-(-channels // groups) * groups).reshape(-1, groups).T
        return np.where(rounds < channels, rounds, -1)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `out_channels` if there is maxpool_depth."""
        return {"out_channels": outputs} if self.maxpool_depth else {}


@layer("local_avgpool", "local_avg", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class LocalAvgpool(Pooling):
    """The mean of each window over the pixels that lie inside the feature map."""


@layer("avgpool", "avg")
@dataclass(frozen=True, kw_only=True)
class Avgpool(LayerSpec):
    """The mean of each channel: (c, h, w) -> (c, 1, 1)."""

    needs_map = True

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input's channels with one pixel each."""
        return Shape(inputs[0].c, 1, 1)
