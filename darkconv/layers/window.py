"""Strides, padding and blur, which the layers with sliding windows share."""

from dataclasses import dataclass

from darkconv.core.dialect import ALEXEYAB
from darkconv.core.options import option
from darkconv.core.shape import Shape, window_count
from darkconv.core.spec import LayerSpec

BLUR_KERNELS = {1: ((1, 2, 1), (2, 4, 2), (1, 2, 1)), 2: ((1, 1), (1, 1))}
"""The kernel of each kind of antialiasing, before it is divided by its sum."""
BLUR_BORDERS = {1: 1, 2: 0}
"""The zero padding in pixels on every side for each kind of antialiasing."""


@dataclass(frozen=True, kw_only=True)
class Strided(LayerSpec):
    """A layer that moves a window over a feature map."""

    needs_map = True

    stride: int = option(1, minimum=1)
    stride_x: int = option(lambda o: o["stride"], only=ALEXEYAB)
    stride_y: int = option(lambda o: o["stride"], only=ALEXEYAB)

    @property
    def strides(self) -> tuple[int, int]:
        """Return the (vertical, horizontal) stride; values below 1 stand for `stride`."""
        across = self.stride_x if self.stride_x > 0 else self.stride
        return (self.stride_y if self.stride_y > 0 else self.stride), across


def blurred_shape(sharp: Shape, kind: int, strides: tuple[int, int]) -> Shape:
    """Return the shape of a feature map after the blur of antialiasing.

    Args:
        sharp: shape before the blur.
        kind: value of `antialiasing`, 1 or 2.
        strides: (vertical, horizontal) stride of the blur.
    """
    size, padding = len(BLUR_KERNELS[kind]), 2 * BLUR_BORDERS[kind]
    rows, columns = (
        window_count(length, size, stride, padding)
        for length, stride in zip(sharp[1:], strides, strict=True)
    )
    return Shape(sharp.c, rows, columns)
