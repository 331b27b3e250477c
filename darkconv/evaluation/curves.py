"""Draw precision-recall curves as SVG, a small chart for each class."""

from collections.abc import Sequence

import numpy as np

from darkconv.evaluation.average_precision import all_points, best_first, envelope, precision_recall
from darkconv.evaluation.matching import Judged
from darkconv.presentation.markup import escape

WIDTH, HEIGHT = 160, 130
LEFT, RIGHT, TOP, BOTTOM = 20, 8, 6, 16
MOST_STEPS = 200  # the most steps that are drawn of a curve


def curves(names: Sequence[str], judged: Sequence[Judged], at: float) -> str:
    """Return a chart for each class with ground truth as HTML, the highest AP first.

    A dot marks where scores fall below a given score.

    Args:
        names: class names.
        judged: the detections of each class, in the same order.
        at: the score that the dot marks, 0..1.
    """
    pairs = best_first(names, judged)
    return f'<div class="curves">{"".join(_figure(name, one, at) for name, one in pairs)}</div>'


def _figure(name: str, one: Judged, at: float) -> str:
    area = f"{100 * all_points(one):.1f}"
    label = escape(f"precision over recall of {name}: AP {area}", quote=True)
    return (
        f"<figure><figcaption><b>{area}</b>{escape(name)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_axes()}{_curve(one)}{_dot(one, at)}</svg></figure>"
    )


def _x(recall: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * recall, 1)


def _y(precision: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - precision), 1)


def _axes() -> str:
    """Return a grid at 0, 0.5 and 1, with its ends labelled in per cent."""
    lines = "".join(f"M{_x(0)} {_y(v)}H{_x(1)}M{_x(v)} {_y(0)}V{_y(1)}" for v in (0.0, 0.5, 1.0))
    texts = "".join(
        f'<text x="{LEFT - 5}" y="{_y(v) + 3.5}" text-anchor="end">{100 * v:g}</text>'
        f'<text x="{_x(v)}" y="{HEIGHT - 4}" text-anchor="middle">{100 * v:g}</text>'
        for v in (0.0, 1.0)
    )
    return f'<path class="axis" fill="none" d="{lines}"/>{texts}'


def _curve(one: Judged) -> str:
    """Return the best precision at each recall or a higher one, as a line of steps."""
    precision, recall = precision_recall(one)
    steps = np.flatnonzero(one.right)
    if not len(steps):
        return ""
    chosen = np.unique(np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int))
    best = envelope(precision)[steps[chosen]]
    ends = recall[steps[chosen]]
    pairs = zip(best.tolist(), ends.tolist(), strict=True)
    path = "".join(f"V{_y(height)}H{_x(end)}" for height, end in pairs)
    first = f"M{_x(0)} {_y(best[0])}{path}V{_y(0)}"
    return f'<path class="area" d="{first}H{_x(0)}z"/><path class="curve" d="{first}"/>'


def _dot(one: Judged, at: float) -> str:
    sure = int((one.scores > at).sum())
    if not sure:
        return ""
    precision, recall = precision_recall(one)
    place = f'cx="{_x(recall[sure - 1])}" cy="{_y(precision[sure - 1])}"'
    return f'<circle class="kept" {place} r="3.5"/>'
