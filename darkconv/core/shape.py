"""Shapes of layer outputs, and the arithmetic of windows as in C."""

from typing import NamedTuple


class Shape(NamedTuple):
    """The shape of a feature map with c channels, h rows and w columns; it equals (c, h, w)."""

    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        """Return the number of values."""
        return self.c * self.h * self.w

    @property
    def is_map(self) -> bool:
        """Return False for plain vectors, which layers that need rows and columns cannot read."""
        return True

    def __str__(self) -> str:
        """Return the shape as `64x13x13`: channels, rows, columns."""
        return f"{self.c}x{self.h}x{self.w}"


class FlatShape(Shape):
    """The shape of a plain vector, which has no map size in Darknet; stored as (n, 1, 1)."""

    __slots__ = ()

    @classmethod
    def of(cls, count: int) -> "FlatShape":
        """Return the shape of a vector.

        Args:
            count: number of values.
        """
        return cls(count, 1, 1)

    @property
    def is_map(self) -> bool:
        """Return False."""
        return False

    def __str__(self) -> str:
        """Return the length of the vector."""
        return str(self.c)


Shapes = tuple[Shape, ...]


def truncated_div(a: int, b: int) -> int:
    """Return the quotient of C's integer division, which rounds towards zero.

    Python's own integer division rounds towards minus infinity.

    Args:
        a: dividend.
        b: divisor.
    """
    return -(-a // b) if (a < 0) != (b < 0) else a // b


def window_count(length: int, size: int, stride: int, total_padding: int) -> int:
    """Return the number of window positions along one axis: (length + padding - size) / stride + 1.

    The division rounds towards zero, as in C.

    Args:
        length: rows or columns of the input.
        size: length of the window.
        stride: distance between window positions.
        total_padding: number of rows or columns added at both ends together.
    """
    return truncated_div(length + total_padding - size, stride) + 1
