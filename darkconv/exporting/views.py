"""Views of what `export` wrote: a line of text, and a table for notebooks."""

from collections.abc import Sequence

from darkconv.exporting.writing import Exported
from darkconv.files.sizes import format_size
from darkconv.presentation.notebook import html_table
from darkconv.verification import tables


def as_text(written: Exported) -> str:
    """Return the names of the files, their size and how they were checked, in one line.

    Args:
        written: result of `export`.
    """
    names = ", ".join(path.name for path in written.files)
    return f"<Exported {names}: {'; '.join(_remarks(written))}>"


def as_html(written: Exported) -> str:
    """Return a table of the files, or of the comparison where there is one.

    Args:
        written: result of `export`.
    """
    caption = [", ".join(map(str, written.files)), *_remarks(written)]
    headers: tuple[str, ...] = ("file",)
    rows: Sequence[tuple[object, ...]] = [(str(path),) for path in written.files]
    if written.precision or written.agreement:
        headers, rows, _ = comparison(written)
    else:
        caption = _remarks(written)
    return html_table(headers, [[str(cell) for cell in row] for row in rows], (0,), caption=caption)


def comparison(written: Exported) -> tuple[tuple[str, ...], Sequence[tuple[object, ...]], str]:
    """Return headers, cells and caption of the table that compares a file.

    Args:
        written: result of `export` with `precision` or `agreement`.
    """
    if found := written.precision:
        headers = ("", "float32", found.precision)
        return headers, tables.precision_rows(found), tables.precision_remark(found)
    agreed = written.agreement
    assert agreed is not None
    headers = ("", agreed.precision, "allowed")
    return headers, tables.agreement_rows(agreed), tables.agreement_remark(agreed)


def _remarks(written: Exported) -> list[str]:
    parts = [format_size(written.size), written.checked or "not checked"]
    parts += [repr(one)[1:-1] for one in (written.precision,) if one]
    parts += written.verdict.lines()[-1:] if written.verdict else []
    return parts
