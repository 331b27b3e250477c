"""Draw histograms as SVG: the values of a layer's channels, and which channels are removed."""

import numpy as np
import numpy.typing as npt

from darkconv.presentation.markup import escape

Doubles = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BINS = 30
WIDTH, HEIGHT = 260, 110
LEFT, RIGHT, TOP, BOTTOM = 26, 6, 16, 16


def histogram(title: str, values: Doubles, removed: Mask, *, cut: float | None = None) -> str:
    """Draw the channels by value, removed ones stacked on kept ones.

    Args:
        title: heading of the chart.
        values: (channels,); channels whose value is not finite are counted in the heading.
        removed: (channels,) True for the channels that are removed.
        cut: a value to mark with a line; None for no line.

    Returns:
        SVG.
    """
    finite = np.isfinite(values)
    edges = np.linspace(*_limits(values[finite], cut), BINS + 1)
    kept, gone = (np.histogram(values[finite & chosen], edges)[0] for chosen in (~removed, removed))
    highest = max(int((kept + gone).max()), 1)
    parts = [
        _bars("kept", np.zeros(BINS), kept / highest),
        _bars("removed", kept / highest, gone / highest),
        _axes(edges, highest),
        _cut(cut, edges),
        f'<text x="{LEFT}" y="10">{escape(_title(title, int((~finite).sum())))}</text>',
    ]
    label = escape(f"{title}: {int(kept.sum())} channels kept, {int(gone.sum())} removed")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _title(title: str, missing: int) -> str:
    return f"{title} ({missing} constant not shown)" if missing else title


def _limits(values: Doubles, cut: float | None) -> tuple[float, float]:
    shown = values if cut is None else np.append(values, cut)
    low, high = (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bars(style: str, below: Doubles, heights: Doubles) -> str:
    """Return rectangles for all bars as one path."""
    step = (WIDTH - LEFT - RIGHT) / BINS
    room = HEIGHT - TOP - BOTTOM
    path = [
        f"M{LEFT + i * step:.1f} {TOP + room * (1 - start - height):.1f}"
        f"h{step - 0.8:.1f}v{room * height:.1f}h-{step - 0.8:.1f}z"
        for i, (start, height) in enumerate(zip(below.tolist(), heights.tolist(), strict=True))
        if height
    ]
    return f'<path class="{style}" d="{"".join(path)}"/>' if path else ""


def _axes(edges: Doubles, highest: int) -> str:
    bottom = HEIGHT - BOTTOM
    marks = ((LEFT, edges[0], "start"), (WIDTH - RIGHT, edges[-1], "end"))
    texts = "".join(
        f'<text x="{x}" y="{HEIGHT - 4}" text-anchor="{anchor}">{value:.3g}</text>'
        for x, value, anchor in marks
    )
    return (
        f'<path class="axis" d="M{LEFT} {bottom}H{WIDTH - RIGHT}"/>{texts}'
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{highest}</text>'
    )


def _cut(cut: float | None, edges: Doubles) -> str:
    if cut is None:
        return ""
    place = LEFT + (WIDTH - LEFT - RIGHT) * (cut - edges[0]) / (edges[-1] - edges[0])
    return f'<path class="cut" d="M{place:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
