"""Draw the plots of an evaluation with matplotlib: curves and the confusion matrix."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from darkconv.errors import one_line
from darkconv.evaluation.average_precision import all_points, best_first, envelope, precision_recall
from darkconv.evaluation.confusion import BACKGROUND, Confusion
from darkconv.evaluation.matching import Judged
from darkconv.report.figure import letters_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOGETHER = 20  # the most classes whose curves are drawn into one pair of axes
PANEL = 1.7  # size of a panel in inches
COLORS = ("tab10", "tab20")  # colour maps for up to 10 and up to 20 classes
STYLES = ("-", "--")  # neighbours in tab20 are shades of one colour
CELLS = ((10, 0.62, 10.0), (30, 0.42, 8.0), (math.inf, 0.25, 5.5))
"""The most rows, the size of a cell in inches, and the size of its number in points."""
SHOWN_NAME = 18  # the most characters of a name that are shown


def draw_curves(names: Sequence[str], judged: Sequence[Judged], *, at: float) -> "Figure":
    """Draw the precision-recall curve of each class, the highest AP first.

    A dot marks where scores fall below a given score.

    Args:
        names: class names.
        judged: the detections of each class, in the same order.
        at: the score that the dot marks, 0..1.

    Returns:
        One pair of axes for up to `TOGETHER` classes, else a panel for each class.
    """
    pairs = best_first(names, judged)
    with letters_of(names):
        return _in_one(pairs, at) if len(pairs) <= TOGETHER else _in_panels(pairs, at)


def _in_one(pairs: Sequence[tuple[str, Judged]], at: float) -> "Figure":
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    few = len(pairs) <= 10
    color_of = matplotlib.colormaps[COLORS[0 if few else 1]]
    for number, (name, one) in enumerate(pairs):
        style = STYLES[0 if few else number % 2]
        label = f"{100 * all_points(one):5.1f}  {_short(name)}"
        _draw_curve(axes, one, at, color=color_of(number), linestyle=style, label=label)
    mean = np.mean([all_points(one) for _, one in pairs]) if pairs else math.nan
    axes.set_title(f"mean AP {100 * mean:.1f} %; dots: scores above {at:g}", fontsize=11)
    _set_limits(axes)
    axes.set_xlabel("recall, %")
    axes.set_ylabel("precision, %")
    if pairs:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9, title="AP, %  class")
    return figure


def _in_panels(pairs: Sequence[tuple[str, Judged]], at: float) -> "Figure":
    from matplotlib.figure import Figure

    columns = math.ceil(math.sqrt(len(pairs) * 1.25))
    rows = math.ceil(len(pairs) / columns)
    figure = Figure(figsize=(PANEL * columns, PANEL * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (name, one) in zip(grid, pairs, strict=False):
        axes.set_title(f"{_short(name)}  {100 * all_points(one):.1f}", fontsize=8)
        _draw_curve(axes, one, at, color="tab:blue")
        axes.tick_params(labelsize=7)
        _set_limits(axes)
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    mean = np.mean([all_points(one) for _, one in pairs])
    title = f"precision over recall, AP behind the name; mean AP {100 * mean:.1f} %"
    figure.suptitle(f"{title}; dots: scores above {at:g}", fontsize=11)
    figure.supxlabel("recall, %", fontsize=9)
    figure.supylabel("precision, %", fontsize=9)
    return figure


def _draw_curve(axes: "Axes", one: Judged, at: float, *, color: Any, **style: Any) -> None:
    precision, recall = precision_recall(one)
    best = envelope(precision)
    last = recall[-1:]
    axes.plot(
        [0, *recall, *last],
        [*best[:1], *best, *last * 0] or [0],
        color=color,
        drawstyle="steps-pre",  # a precision holds up to its recall, as in the area under it
        linewidth=1.5,
        clip_on=False,
        **style,
    )
    sure = int((one.scores > at).sum())
    if sure:
        axes.plot(
            recall[sure - 1], precision[sure - 1], "o", color=color, markersize=4, clip_on=False
        )


def _set_limits(axes: "Axes") -> None:
    """Show shares of 0..1 in per cent."""
    from matplotlib.ticker import PercentFormatter

    axes.set(xlim=(0, 1), ylim=(0, 1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=None))
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_confusion(confusion: Confusion) -> "Figure":
    """Draw the confusion matrix; a darker cell is a larger share of its row.

    Args:
        confusion: the confusion matrix.
    """
    with letters_of(confusion.classes):
        return _confusion(confusion)


def _confusion(confusion: Confusion) -> "Figure":
    from matplotlib.figure import Figure

    count = len(confusion.labels)
    cell, points = next((cell, points) for most, cell, points in CELLS if count <= most)
    labels = [*map(_short, confusion.classes), BACKGROUND]
    margin = 0.09 * max(map(len, labels)) + 0.9
    size = max(cell * count + margin, 4.2)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    shares = confusion.shares
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), number in np.ndenumerate(confusion.counts):
        if number:
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=ink, size=points)
    axes.set_xticks(range(count), [*labels[:-1], "missed"], rotation=90)
    axes.set_yticks(range(count), labels)
    axes.tick_params(labelsize=max(6.5, min(points + 1, 10)), length=0)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for place in (axes.axhline, axes.axvline):
        place(count - 1.5, color="0.4", linewidth=1)
    axes.set(xlabel="found", ylabel="true")
    axes.set_title(f"scores above {confusion.at:g}, IoU {confusion.overlap:g}", fontsize=11)
    return figure


def _short(name: str) -> str:
    """Return a name as a label; a dollar sign, which would begin a formula, is escaped."""
    name = one_line(name)
    text = name if len(name) <= SHOWN_NAME else f"{name[: SHOWN_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    return text.replace("$", r"\$")
