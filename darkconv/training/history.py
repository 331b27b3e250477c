"""The history of a run, row by row: a CSV file that a resumed run continues."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.errors import DarkconvError, Where
from darkconv.files import write_bytes
from darkconv.report.figure import write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, float]
QUALITIES = ("AP", "COCO_AP", "recall", "iou", "top1", "top5")


class TrainingHistory:
    """Rows of a CSV file; columns are added when they are first needed.

    Attributes:
        path: the CSV file.
        rows: the rows, in order of their steps.
    """

    def __init__(self, path: Path, *, until: int = 0) -> None:
        """Read the existing rows up to a step; later rows are of steps that were not saved."""
        self.path = path
        self.rows: list[Row] = []
        if until and path.is_file():
            self.rows = [row for row in read_history(path) if row.get("step", 0) <= until]

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row, and write the file.

        Args:
            row: value of each column.
        """
        self.rows.append(dict(row))
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(self.rows)
        write_bytes(self.path, [text.getvalue().encode()])

    def column(self, name: str) -> tuple[list[float], list[float]]:
        """Return steps and values of the rows that have a column.

        Args:
            name: name of the column.
        """
        found = [(row["step"], row[name]) for row in self.rows if name in row]
        return [step for step, _ in found], [value for _, value in found]


def read_history(path: Path) -> list[Row]:
    """Read the rows of a history's file.

    Args:
        path: the CSV file.

    Raises:
        DarkconvError: the file cannot be read, or is no history.
    """
    where = Where(file=os.fspath(path))
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                where = Where(file=os.fspath(path), line=reader.line_num)
                rows.append(_numbers(row))
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except (ValueError, TypeError, csv.Error) as error:
        raise DarkconvError(
            "is no history of a run", where=where, hint="without the file the run goes on too"
        ) from error
    return rows


def _numbers(row: Mapping[str, Any]) -> Row:
    return {name: _number(text) for name, text in row.items() if text not in ("", None)}


def _number(text: str) -> float:
    """Return a number as it was written: steps are whole numbers."""
    return int(text) if text.isdecimal() else float(text)


NOT_DRAWN = {"step", "epoch", "pictures_per_second"}


def draw_curves(history: TrainingHistory, path: "os.PathLike[str]") -> bool:
    """Draw losses, qualities and the learning rate over the steps into a file.

    Args:
        history: rows of the run.
        path: file of the picture.

    Returns:
        True if they were drawn, False if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    names = dict.fromkeys(name for row in history.rows for name in row if name not in NOT_DRAWN)
    panels = {
        "cost per picture": [n for n in names if n not in (*QUALITIES, "rate")],
        "quality": [n for n in names if n in QUALITIES],
        "learning rate": ["rate"],
    }
    shown = {title: group for title, group in panels.items() if group}
    figure = Figure(figsize=(9, 3.2 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for one, (title, group) in zip(axes, shown.items(), strict=True):
        _draw_panel(one, history, title, group)
    axes[-1].set_xlabel("step")
    write_figure(figure, path)
    return True


def _draw_panel(axes: "Axes", history: TrainingHistory, title: str, names: list[str]) -> None:
    for name in names:
        steps, values = history.column(name)
        width = 2.2 if name in ("loss", "AP") else 1.2
        axes.plot(steps, values, label=name.replace("_", " "), marker=".", linewidth=width)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    if title != "learning rate":
        axes.legend(frameon=False, fontsize=8, ncols=4)
    if title == "quality":
        axes.set_ylim(0, 1)
    elif "loss" in names and min(history.column("loss")[1]) > 0:
        axes.set_yscale("log")
