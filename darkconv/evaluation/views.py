"""Show evaluations: as a line of text, and as a table in notebooks."""

from darkconv.evaluation.figures import ClassFigures
from darkconv.evaluation.result import BoxEvaluation, Evaluation
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import per_cent

OF_BOXES = {"ap": "AP", "ap11": "11-point AP", "coco50": "COCO AP50", "coco": "COCO AP"}
OF_CLASSES = {"top1": "top-1", "top5": "top-5"}
"""Figures that are shown, and their headings."""


def as_text(result: Evaluation) -> str:
    """Return the means in one line.

    Args:
        result: the evaluation of a detector or a classifier.
    """
    return f"Evaluation of {result.model}: {', '.join(_caption(result))}"


def as_html(result: Evaluation) -> str:
    """Return a table as HTML, with a row for each class and one for the mean.

    Args:
        result: the evaluation of a detector or a classifier.
    """
    shown = _shown(result)
    count = "boxes" if shown is OF_BOXES else "pictures"
    rows = [
        [one.name, f"{getattr(one, count) or 0:,}", *_cells(one, shown)]
        for one in (*result.classes, result.mean)
    ]
    headers = ("class", count, *(f"{word}, %" for word in shown.values()))
    return html_table(headers, rows, (0,), caption=[result.model, *_caption(result)])


def _caption(result: Evaluation) -> list[str]:
    shown = _shown(result)
    means = zip(shown.values(), _cells(result.mean, shown), strict=True)
    unread = f" ({len(result.unread)} not read)" if result.unread else ""
    lines = [
        f"{len(result.pictures):,} pictures of {result.source}{unread}",
        f"{len(result.classes):,} classes",
        *(f"{word} {cell} %" for word, cell in means if cell != "-"),
    ]
    if result.left_out:
        lines.append(f"left out {', '.join(one.name for one in result.left_out)}")
    return lines


def _shown(result: Evaluation) -> dict[str, str]:
    return OF_BOXES if isinstance(result, BoxEvaluation) else OF_CLASSES


def _cells(figures: ClassFigures, shown: dict[str, str]) -> list[str]:
    return [per_cent(getattr(figures, key)) for key in shown]
