"""Maps whose rows and columns do not fit: what is said of them, and which sizes would do."""

from collections.abc import Callable, Iterable, Sequence
from typing import Self

from darkconv.core.shape import Shape, Shapes
from darkconv.errors import GraphError, Where

MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 256)
"""What widths and heights may have to be multiples of; networks halve their maps."""
NEIGHBOURS = (0, 1, 2)
"""Multiples in a row that must all do: an even one alone may do by chance."""


class SizeError(GraphError):
    """Rows or columns that a layer cannot use, where another size of pictures may do."""

    layer: int | None = None
    """The one that is to blame, if it is not the one that failed."""


class UnlikeSizesError(SizeError):
    """Maps of unlike size meet in a layer that wants them alike."""

    def __init__(self, verb: str, *, rule: str, where: Where) -> None:
        """Say what the layer does with its maps, and which sizes it takes."""
        super().__init__(verb, where=where)
        self.rule = rule

    def of(self, shapes: Shapes, sources: Sequence[int]) -> Self:
        """Return the same error, which now says which layers' maps they are."""
        self.message = f"{self.message} {meeting(shapes, sources)}, which have to be {self.rule}"
        return self


def meeting(shapes: Iterable[Shape], sources: Sequence[int]) -> str:
    """Return `maps of 51 and 50 columns (layers 97 and 61)`."""
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
    """Return which widths and heights would do, near those given, or nothing.

    Args:
        size: width and height that do not.
        fits: tries others.
    """
    for multiple in MULTIPLES:
        candidates = [_near(length, multiple) for length in size]
        if all(length % multiple == 0 for length in size) or not all(c[0] for c in candidates):
            continue
        if all(fits(candidates[0][k], candidates[1][k]) for k in NEIGHBOURS):
            return _advice(size, multiple, candidates)
    return ""


def _near(length: int, multiple: int) -> list[int]:
    """Multiples around a length: the nearest below, that above, the next one."""
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
