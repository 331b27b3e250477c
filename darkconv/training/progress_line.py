"""Lines that show the progress of training."""

from collections.abc import Mapping

from darkconv.presentation.numerals import per_cent

SHOWN = ("loss", "box", "objectness", "no_object", "classes", "features", "iou")
"""Names of the figures in a line of progress, as far as they exist."""
SHARES = {"recall": "recall", "AP": "AP", "top1": "top-1", "top5": "top-5"}
"""Names of the figures that are shown in per cent, with their titles."""


def row_as_text(row: Mapping[str, float]) -> str:
    """Return the figures of a row in one line.

    Args:
        row: row of the history.
    """
    place = [f"epoch {row['epoch']:.3g}", f"step {row['step']:.0f}"]
    shown = {name: row[name] for name in (*SHOWN, *SHARES) if name in row}
    return "  ".join(
        [*place, figures_as_text(shown), f"{row['pictures_per_second']:.1f} pictures/s"]
    )


def figures_as_text(figures: Mapping[str, float]) -> str:
    """Return losses, followed by qualities in per cent, in one line.

    Args:
        figures: values by name.
    """
    costs = ((name.replace("_", " "), value) for name, value in figures.items())
    parts = [f"{name} {value:.4g}" for name, value in costs if name not in SHARES]
    shares = ((title, figures[name]) for name, title in SHARES.items() if name in figures)
    return "  ".join([*parts, *(f"{title} {per_cent(share)} %" for title, share in shares)])
