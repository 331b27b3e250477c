"""Plain text tables: aligned columns, the same on a terminal and in a file."""

from collections.abc import Sequence

import click

Row = Sequence[object]


def format_table(headers: Sequence[str], rows: Sequence[Row], *, left: Sequence[int] = ()) -> str:
    """Columns under headers; numbers to the right, columns in `left` to the left."""
    cells = [list(map(str, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([click.style(line(headers), bold=True), *map(line, cells)])
