"""Draw a confusion matrix: the darker a cell, the larger its share of the row."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darkconv.presentation.markup import escape

MOST_CLASSES = 100
"""A matrix of more classes is left out: nobody reads it, and it makes the page large."""
STRONG = 0.6  # from this share on, the number has the page's background colour


def matrix(rows: Sequence[str], columns: Sequence[str], counts: npt.NDArray[np.int64]) -> str:
    """Draw the counts of true classes (rows) by classes found (columns).

    Args:
        rows: names of the rows.
        columns: names of the columns.
        counts: (rows, columns).

    Returns:
        HTML; a note in place of the matrix where it is too large.
    """
    if len(rows) > MOST_CLASSES:
        return f'<p class="note">Left out: more than {MOST_CLASSES} classes.</p>'
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    lines = "\n".join(_line(name, row) for name, row in zip(rows, counts, strict=True))
    return (
        f'<div class="scroll matrix"><table><thead><tr><td></td>{names}</tr></thead>\n'
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _line(name: str, counts: npt.NDArray[np.int64]) -> str:
    shares = counts / max(int(counts.sum()), 1)
    cells = "".join(map(_cell, counts.tolist(), shares.tolist()))
    shown = escape(name, quote=True)
    return f'<tr><th scope="row" title="{shown}">{shown}</th>{cells}</tr>'


def _cell(count: int, share: float) -> str:
    if not count:
        return "<td></td>"
    strong = ' class="strong"' if share > STRONG else ""
    return f'<td{strong} style="--share:{share:.2f}">{count}</td>'
