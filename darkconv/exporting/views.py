"""How what `export` has written shows itself: a line of text, and a table for notebooks."""

from collections.abc import Sequence

from darkconv.exporting.writing import Exported
from darkconv.files.sizes import format_size
from darkconv.presentation.notebook import html_table
from darkconv.verification import tables


def as_text(written: Exported) -> str:
    """Return the files, their size and how they were checked in a line."""
    names = ", ".join(path.name for path in written.files)
    return f"<Exported {names}: {'; '.join(_remarks(written))}>"


def as_html(written: Exported) -> str:
    """Return a table of the files, or of how the one in question compares."""
    caption = [", ".join(map(str, written.files)), *_remarks(written)]
    headers: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    if written.precision:
        headers = ("", "float32", written.precision.precision)
        rows = tables.precision_rows(written.precision)
    elif written.agreement:
        headers = ("", written.agreement.precision, "allowed")
        rows = tables.agreement_rows(written.agreement)
    else:
        headers = ("file",)
        rows = [(str(path),) for path in written.files]
        caption = _remarks(written)
    return html_table(headers, [[str(cell) for cell in row] for row in rows], (0,), caption=caption)


def _remarks(written: Exported) -> list[str]:
    parts = [format_size(written.size), written.checked or "not checked"]
    parts += [repr(one)[1:-1] for one in (written.precision,) if one]
    return parts
