"""Build a report page from tables, figures and keys, without scripts or outside resources."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from darkconv.presentation.markup import escape
from darkconv.report.style import STYLE


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole HTML document.

    Args:
        title: title of the document.
        parts: HTML of its parts.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Collection[int] = (0,),
    total: Sequence[str] = (),
    marks: Mapping[int, str] | None = None,
) -> str:
    """Return a table of plain texts as HTML.

    Args:
        headers: headings of the columns.
        rows: cells of each row.
        left: indices of the columns that are aligned to the left, from 0; numbers stand to the
            right.
        total: cells of a last row; none by default.
        marks: CSS class of each row that stands out, by row index from 0.
    """

    def line(tag: str, cells: Sequence[str], style: str = "") -> str:
        styles = [' class="name"' if i in left else "" for i in range(len(cells))]
        scope = ' scope="col"' if tag == "th" else ""
        texts = zip(styles, map(escape, cells), strict=True)
        opened = f'<tr class="{style}">' if style else "<tr>"
        return f"{opened}{''.join(f'<{tag}{scope}{s}>{t}</{tag}>' for s, t in texts)}</tr>"

    styles = marks or {}
    body = "\n".join(line("td", row, styles.get(place, "")) for place, row in enumerate(rows))
    foot = f"<tfoot>{line('td', total)}</tfoot>" if total else ""
    return (
        f'<div class="scroll"><table><thead>{line("th", headers)}</thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}</table></div>"
    )


def verdict(text: str, *, is_good: bool) -> str:
    """Return the verdict as HTML, in one line.

    Args:
        text: the verdict.
        is_good: True for a check mark, False for a cross.
    """
    style, sign = ("verdict", "\N{CHECK MARK}") if is_good else ("verdict wrong", "\N{BALLOT X}")
    return f'<p class="{style}"><b>{sign}</b>{escape(text)}</p>'


def key(entries: Iterable[tuple[str, str]]) -> str:
    """Return the key of a chart's colours as HTML.

    Args:
        entries: CSS class and meaning of each colour.
    """
    parts = (f'<span><i class="{style}"></i>{escape(text)}</span>' for style, text in entries)
    return f'<p class="key note">{"".join(parts)}</p>'


def key_figures(figures: Iterable[tuple[str, str, str]]) -> str:
    """Return the most important figures as HTML.

    Args:
        figures: name, value and remark of each figure.
    """
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def section(title: str, *parts: str) -> str:
    """Return a section of the page with a heading, as HTML.

    Args:
        title: the heading.
        parts: HTML of its parts.
    """
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"
