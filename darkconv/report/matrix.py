"""A confusion matrix: the darker a cell, the larger its share of the row."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darkconv.presentation.markup import escape

MOST_CLASSES = 100
"""A larger matrix nobody reads, and it makes the page heavy."""
STRONG = 0.6  # share from which the number is written in the page's colour


def matrix(rows: Sequence[str], columns: Sequence[str], counts: npt.NDArray[np.int64]) -> str:
    """True classes by found classes.

    Args:
        rows: their names.
        columns: their names.
        counts: (rows, columns).
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
