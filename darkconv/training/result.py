"""What a training gives: the model, and how it came to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkconv.core.model import Model
from darkconv.presentation.notebook import html_table

FIGURES = ("loss", "AP", "top1")
"""What a line about a run shows of its last rows."""


@dataclass(frozen=True, repr=False, eq=False)
class Finetuned:
    """Result of `dc.finetune`.

    Attributes:
        model: with the averaged weights; where a run was evaluated, the best of those evaluated.
        last: with the averaged weights of the last step.
        history: a row for about each epoch, of the whole run: step, epoch, rate, the parts of the
            loss per picture, pictures per second, and, where the model was evaluated, AP and
            COCO_AP, or top1 and top5, in 0..1.
        best_epoch: of the model; None if nothing was evaluated.
        folder: where the run's files are; None if none was asked for.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> run = dc.finetune(model, "digits10.data", recipe=dc.Recipe(steps=1, batch=2))
        >>> run.history[-1]["step"], run.folder
        (1, None)
    """

    model: Model
    last: Model
    history: tuple[Mapping[str, float], ...]
    best_epoch: float | None
    folder: Path | None

    def __repr__(self) -> str:
        """One line: steps, the last loss, the last AP, and the best epoch."""
        return f"<Finetuned: {', '.join(self._caption())}>"

    def _repr_html_(self) -> str:
        """Return the history as a table for notebooks, a row for about each epoch."""
        names = dict.fromkeys(name for row in self.history for name in row)
        rows = [
            [f"{row[name]:.4g}" if name in row else "-" for name in names] for row in self.history
        ]
        headers = (name.replace("_", " ") for name in names)
        return html_table(headers, rows, (), caption=self._caption())

    def _caption(self) -> list[str]:
        last: dict[str, float] = {}
        for row in self.history:
            last |= row
        parts = [f"{last.get('step', 0):.0f} steps"]
        parts += [f"{name} {last[name]:.4g}" for name in FIGURES if name in last]
        if self.best_epoch is not None:
            parts.append(f"best at epoch {self.best_epoch:.3g}")
        return parts

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON: the best epoch, and the rows of the history."""
        return {"best_epoch": self.best_epoch, "rows": [dict(row) for row in self.history]}
