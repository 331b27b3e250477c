"""The page around a report: style, tables, figures. No scripts, nothing from elsewhere."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { --ink: #1d2430; --faint: #667085; --line: #e3e7ee; --paper: #ffffff; --card: #f7f8fa;
  --kept: #2f6fde; --removed: #e8833a; --cut: #c02626; color-scheme: light; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebf0; --faint: #98a2b3; --line: #2c3442; --paper: #12161d; --card: #1a2029;
    --kept: #6ea0ff; --removed: #f2a266; --cut: #ff7a7a; color-scheme: dark; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 5rem; max-width: 66rem; background: var(--paper);
  color: var(--ink); font: 15px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .35rem; letter-spacing: -.01em; }
h2 { font-size: 1.1rem; margin: 2.75rem 0 .8rem; }
p { margin: 0 0 .7rem; max-width: 46rem; }
.note, figcaption { color: var(--faint); font-size: .87rem; }
.figures { display: grid; gap: .75rem; margin: 1.5rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.figures div { background: var(--card); border-radius: .6rem; padding: .8rem 1rem; }
.figures dt { color: var(--faint); font-size: .85rem; }
.figures dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.figures dd small { display: block; font-size: .82rem; font-weight: 400; color: var(--faint); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .75rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--faint); font-size: .85rem; }
th.name, td.name { text-align: left; }
tfoot td { font-weight: 600; border-bottom: 0; }
.pictures { display: grid; gap: 1rem; grid-template-columns: 1fr 1fr; }
.pictures h3 { margin: 0; font-size: .9rem; color: var(--faint); font-weight: 600; }
figure { margin: 0; min-width: 0; }
.pictures img { width: 100%; border-radius: .5rem; display: block; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; }
details { border-bottom: 1px solid var(--line); }
summary { padding: .55rem 0; cursor: pointer; }
summary small { color: var(--faint); }
.plots { display: grid; gap: .5rem 1.25rem; padding: .25rem 0 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--faint); font-size: 10px; }
.kept { fill: var(--kept); } .removed { fill: var(--removed); }
.axis { stroke: var(--line); } .cut { stroke: var(--cut); stroke-dasharray: 3 2; }
.key i { display: inline-block; width: .75rem; height: .75rem; border-radius: .2rem;
  margin: 0 .35rem 0 .9rem; vertical-align: -1px; }
.key i:first-child { margin-left: 0; }
i.kept { background: var(--kept); } i.removed { background: var(--removed); }
i.cut { background: none; border-left: 2px dashed var(--cut); border-radius: 0; width: .2rem; }
@media print { body { max-width: none; padding: 0; } details { break-inside: avoid; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole document."""
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
    left: int = 1,
    total: Sequence[str] = (),
) -> str:
    """A table of plain texts; the first `left` columns are names, the others numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        styles = [' class="name"' if i < left else "" for i in range(len(cells))]
        scope = ' scope="col"' if tag == "th" else ""
        texts = zip(styles, map(escape, cells), strict=True)
        return f"<tr>{''.join(f'<{tag}{scope}{s}>{t}</{tag}>' for s, t in texts)}</tr>"

    body = "\n".join(line("td", row) for row in rows)
    foot = f"<tfoot>{line('td', total)}</tfoot>" if total else ""
    return (
        f'<div class="scroll"><table><thead>{line("th", headers)}</thead>\n'
        f"<tbody>\n{body}\n</tbody>{foot}</table></div>"
    )


def key_figures(figures: Iterable[tuple[str, str, str]]) -> str:
    """Name, value and remark of the figures that matter most."""
    cells = (
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in figures
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def section(title: str, *parts: str) -> str:
    """A part of the page with a heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"
