"""Display of results: as text by `repr`, and as a table in notebooks."""

from collections.abc import Callable
from typing import Any, NamedTuple


class View(NamedTuple):
    """The functions that show the values of a class.

    Attributes:
        text: returns the text for `repr`.
        html: returns the HTML for notebooks.
    """

    text: Callable[[Any], str]
    html: Callable[[Any], str]


class Shown:
    """Base of classes whose values are shown by a view."""

    __slots__ = ()

    def _view(self) -> View:
        """Return the view; the modules that make the tables are imported only here."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the text of the view."""
        return self._view().text(self)

    def _repr_html_(self) -> str:
        """Return the HTML of the view."""
        return self._view().html(self)
