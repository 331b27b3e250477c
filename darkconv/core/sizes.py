"""Messages about feature maps whose sizes do not fit together, and input sizes that would fit."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self

from darkconv.core.shape import Shape, Shapes
from darkconv.errors import GraphError, Where

MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256)
"""Widths and heights may have to be multiples of one of these, as networks halve their maps."""
NEIGHBOURS = (0, 1, 2)
"""Positions of the consecutive multiples that must all fit, as a single one may fit by chance."""


class SizeError(GraphError):
    """A layer cannot use the rows or columns of its input; another input size may help."""

    layer: int | None = None
    """Index of the layer to blame; None if it is the layer that failed."""


class UnlikeSizesError(SizeError):
    """Feature maps of different sizes meet in a layer that needs equal ones."""

    def __init__(self, verb: str, *, rule: str, where: Where) -> None:
        """Store what the layer does with its feature maps, and which sizes it accepts."""
        super().__init__(verb, where=where)
        self.rule = rule

    def of(self, shapes: Shapes, sources: Sequence[int]) -> Self:
        """Return the same error with the feature maps and their layers added to the message.

        Args:
            shapes: shapes of the feature maps.
            sources: indices of their layers; -1 is the network input.
        """
        self.message = f"{self.message} {meeting(shapes, sources)}, which have to be {self.rule}"
        return self


def meeting(shapes: Iterable[Shape], sources: Sequence[int]) -> str:
    """Return a text such as `maps of 51 and 50 columns (layers 97 and 61)`.

    Args:
        shapes: shapes of the feature maps that meet.
        sources: indices of their layers; -1 is the network input.
    """
    shapes = list(shapes)
    heights, widths = (list(dict.fromkeys(s[axis] for s in shapes)) for axis in (1, 2))
    if len(heights) == 1:
        what = f"{_listed(widths)} columns"
    elif len(widths) == 1:
        what = f"{_listed(heights)} rows"
    else:
        what = _listed(dict.fromkeys(f"{shape.w}x{shape.h}" for shape in shapes))
    names = _listed("the input" if s < 0 else s for s in sources)
    return f"maps of {what} ({'layers ' if min(sources) >= 0 else ''}{names})"


def fitting_sizes(size: tuple[int, int], fits: Callable[[int, int], bool]) -> str:
    """Return advice on widths and heights near the given ones that would fit, or an empty text.

    Args:
        size: (width, height) in pixels that do not fit.
        fits: function that returns True if a width and a height fit.
    """
    for multiple in MULTIPLES:
        candidates = [_near(length, multiple) for length in size]
        if all(length % multiple == 0 for length in size) or not all(c[0] for c in candidates):
            continue
        if all(fits(candidates[0][k], candidates[1][k]) for k in NEIGHBOURS):
            return _advice(size, multiple, candidates)
    return ""


def _near(length: int, multiple: int) -> list[int]:
    """Return three multiples near a length: the last up to it, the next one, and the one after."""
    below = length // multiple * multiple
    first = below if below else multiple
    if length % multiple == 0:
        return [first, first, first + multiple]
    return [first, first + multiple, first + 2 * multiple]


def _advice(size: tuple[int, int], multiple: int, candidates: Sequence[Sequence[int]]) -> str:
    parts = [
        f"{name} must be a multiple of {multiple}: {near[0]} or {near[1]}"
        for name, length, near in zip(("width", "height"), size, candidates, strict=True)
        if length % multiple
    ]
    return ", ".join(parts)


def _listed(items: Iterable[object]) -> str:
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last
