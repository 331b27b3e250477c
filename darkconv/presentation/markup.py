"""Texts for HTML pages: see `printable` for what is written out."""

import html

from darkconv.errors import printable


def escape(text: str, *, quote: bool = True) -> str:
    """Return a text as HTML shows it, without what would turn its direction or hide it.

    Args:
        text: with whatever names of files and classes hold.
        quote: whether it may stand in an attribute.
    """
    return html.escape(printable(text), quote=quote)
