"""How models, networks and profiles show themselves: rooms above say it, `core` only asks.

`darkconv.presentation` registers its views, which `import darkconv` sees to. So nothing here, and
nothing in the rooms below, has to know of tables.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class View(NamedTuple):
    """How values of a class are shown.

    Attributes:
        text: what `repr` gives.
        html: what notebooks show.
    """

    text: Callable[[Any], str]
    html: Callable[[Any], str]


VIEWS: dict[type, View] = {}


class Shown:
    """A class whose values show themselves as its view says."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text of the view."""
        view = VIEWS.get(type(self))
        return view.text(self) if view else object.__repr__(self)

    def _repr_html_(self) -> str | None:
        """Return the view for notebooks; None where there is none, so that they show the text."""
        view = VIEWS.get(type(self))
        return view.html(self) if view else None
