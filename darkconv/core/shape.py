"""Shapes of layer outputs, and window arithmetic as C does it."""

from typing import NamedTuple


class Shape(NamedTuple):
    """A map of `c` channels, `h` rows and `w` columns; equal to the tuple (c, h, w)."""

    c: int
    h: int
    w: int

    @property
    def size(self) -> int:
        """Number of values."""
        return self.c * self.h * self.w

    @property
    def is_map(self) -> bool:
        """False for plain vectors, after which no layer with spatial needs can stand."""
        return True

    def __str__(self) -> str:
        """`64x13x13`, channels first."""
        return f"{self.c}x{self.h}x{self.w}"


class FlatShape(Shape):
    """A vector: Darknet leaves its map size unset. Held as (n, 1, 1)."""

    __slots__ = ()

    @classmethod
    def of(cls, count: int) -> "FlatShape":
        """A vector of `count` values."""
        return cls(count, 1, 1)

    @property
    def is_map(self) -> bool:
        """Always False."""
        return False

    def __str__(self) -> str:
        """Its length."""
        return str(self.c)


Shapes = tuple[Shape, ...]


def truncated_div(a: int, b: int) -> int:
    """C's integer division: towards zero, where Python's goes towards minus infinity."""
    return -(-a // b) if (a < 0) != (b < 0) else a // b


def window_count(length: int, size: int, stride: int, total_padding: int) -> int:
    """Number of window positions along one axis: (length + padding - size) / stride + 1."""
    return truncated_div(length + total_padding - size, stride) + 1
