"""How results show themselves: a text for `repr`, and a table for notebooks."""

from collections.abc import Callable
from typing import Any, NamedTuple


class View(NamedTuple):
    """How the values of a class are shown.

    Attributes:
        text: what `repr` gives.
        html: what notebooks show.
    """

    text: Callable[[Any], str]
    html: Callable[[Any], str]


class Shown:
    """A class whose values show themselves as its view says."""

    __slots__ = ()

    def _view(self) -> View:
        """Return how it is shown; what makes the tables is imported only now."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the text of the view."""
        return self._view().text(self)

    def _repr_html_(self) -> str:
        """Return the view for notebooks."""
        return self._view().html(self)
