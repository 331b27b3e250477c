"""How training looks while it runs."""

from collections.abc import Mapping

from darkconv.presentation.numerals import per_cent

SHOWN = ("loss", "box", "objectness", "no_object", "classes", "features", "iou")
"""Figures of a line of progress, where they exist."""
SHARES = {"recall": "recall", "AP": "AP", "top1": "top-1", "top5": "top-5"}
"""What a line shows of a row: first as it is, then in per cent."""


def row_as_text(row: Mapping[str, float]) -> str:
    """Return the figures of a row in a line."""
    place = [f"epoch {row['epoch']:.3g}", f"step {row['step']:.0f}"]
    shown = {name: row[name] for name in (*SHOWN, *SHARES) if name in row}
    return "  ".join([*place, figures_as_text(shown), f"{row['pictures_per_second']:.1f}/s"])


def figures_as_text(figures: Mapping[str, float]) -> str:
    """Return what predictions cost, and behind it how good they are in per cent."""
    costs = ((name.replace("_", " "), value) for name, value in figures.items())
    parts = [f"{name} {value:.4g}" for name, value in costs if name not in SHARES]
    shares = ((title, figures[name]) for name, title in SHARES.items() if name in figures)
    return "  ".join([*parts, *(f"{title} {per_cent(share)} %" for title, share in shares)])
