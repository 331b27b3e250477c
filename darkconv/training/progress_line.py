"""How training looks while it runs."""

from collections.abc import Mapping

from darkconv.presentation.numerals import per_cent

SHOWN = ("loss", "box", "objectness", "no_object", "classes", "features", "iou")
"""Figures of a line of progress, where they exist."""
SHARES = {"recall": "recall", "AP": "AP", "top1": "top-1", "top5": "top-5"}
"""What a line shows of a row: first as it is, then in per cent."""


def row_as_text(row: Mapping[str, float]) -> str:
    """Return the figures of a row in a line."""
    parts = [f"epoch {row['epoch']:.3g}", f"step {row['step']:.0f}"]
    parts += [f"{name.replace('_', ' ')} {row[name]:.4g}" for name in SHOWN if name in row]
    parts += [f"{title} {per_cent(row[name])} %" for name, title in SHARES.items() if name in row]
    return "  ".join([*parts, f"{row['pictures_per_second']:.1f}/s"])
