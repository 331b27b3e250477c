"""Draw a curve as SVG: its points are marked, and one of them is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from darkconv.presentation.markup import escape

WIDTH, HEIGHT = 260, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 10, 18, 18
RADIUS = 3.0


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes:
        x: position along the horizontal axis.
        y: value.
        text: description that appears when the mouse rests on the point.
        is_chosen: True for the point that the curve was drawn to find.
    """

    x: float
    y: float
    text: str
    is_chosen: bool = False


def curve(title: str, points: Sequence[Point], *, limit: float, unit: str = "") -> str:
    """Draw a line through points in the order of x, and a dashed line at a limit.

    Args:
        title: heading of the chart.
        points: one or more points.
        limit: the lowest value that is good enough.
        unit: unit of x, which follows its numbers.

    Returns:
        SVG.
    """
    ordered = sorted(points, key=lambda point: point.x)
    highest = max(point.x for point in points) or 1.0
    low, high = _limits([*(point.y for point in points), limit])

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / highest
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low)

    line = "L".join(
        f"{across:.1f} {down:.1f}" for across, down in (place(one.x, one.y) for one in ordered)
    )
    _, down = place(0.0, limit)
    parts = [
        f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>',
        f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}"/>',
        f'<path class="cut" d="M{LEFT} {down:.1f}H{WIDTH - RIGHT}"/>',
        f'<path class="curve" d="M{line}"/>',
        *(_mark(point, *place(point.x, point.y)) for point in ordered),
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{LEFT}" y="{HEIGHT - 4}">0</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">'
        f"{highest:.3g}{escape(unit)}</text>",
        f'<text x="{LEFT}" y="10">{escape(title)}</text>',
    ]
    label = escape(f"{title}: {len(points)} points")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _mark(point: Point, across: float, down: float) -> str:
    style, radius = ("removed", 2 * RADIUS) if point.is_chosen else ("kept", RADIUS)
    return (
        f'<circle class="{style}" cx="{across:.1f}" cy="{down:.1f}" r="{radius:g}">'
        f"<title>{escape(point.text)}</title></circle>"
    )
