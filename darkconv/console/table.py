"""Format plain text tables: aligned columns, the same on a terminal and in a file."""

from collections.abc import Sequence

from darkconv.errors import one_line

Row = Sequence[object]


def format_table(headers: Sequence[str], rows: Sequence[Row], *, left: Sequence[int] = ()) -> str:
    """Return a table as text, with control characters written out.

    Args:
        headers: headings of the columns.
        rows: cells of each row; columns are aligned to the right.
        left: indices of the columns that are aligned to the left, from 0.
    """
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), *map(line, cells)])
