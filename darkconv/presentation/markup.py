"""Escape texts for HTML pages; `printable` says which characters are written out."""

import html

from darkconv.errors import printable


def escape(text: str, *, quote: bool = True) -> str:
    """Return a text as HTML shows it, without characters that would hide it or turn its direction.

    Args:
        text: any text, such as the name of a file or a class.
        quote: True if the text may stand in an attribute.
    """
    return html.escape(printable(text), quote=quote)
