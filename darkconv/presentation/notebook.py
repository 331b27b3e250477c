"""Build tables for notebooks, which have their own style."""

from collections.abc import Collection, Iterable

from darkconv.presentation.markup import escape


def html_table(
    headers: Iterable[str],
    rows: Iterable[Iterable[str]],
    left: Collection[int],
    caption: Iterable[str],
) -> str:
    """Return a plain table as HTML.

    Args:
        headers: headings of the columns.
        rows: cells of each row, as plain text.
        left: indices of the columns that are aligned to the left, from 0.
        caption: lines above the table.
    """

    def line(tag: str, cells: Iterable[str]) -> str:
        styled = (
            f'<{tag} style="text-align: {"left" if i in left else "right"}">{escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(styled)}</tr>"

    lines = "<br>".join(map(escape, caption))
    body = "".join(line("td", cells) for cells in rows)
    return f"<p>{lines}</p><table><thead>{line('th', headers)}</thead><tbody>{body}</tbody></table>"
