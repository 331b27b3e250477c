"""The result of a training: the model and its history."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkconv.core.model import Model
from darkconv.presentation.notebook import html_table

FIGURES = ("loss", "AP", "top1")
"""Names of the figures that the description of a run shows."""


@dataclass(frozen=True, repr=False, eq=False)
class Finetuned:
    """Result of `dc.finetune`.

    Attributes:
        model: model with the averaged weights; if the run was evaluated, the best evaluated one.
        last: model with the averaged weights of the last step.
        history: a row for about each epoch of the whole run: step, epoch, learning rate, the parts
            of the loss per picture, pictures per second, and, if the model was evaluated, AP and
            COCO_AP, or top1 and top5, in 0..1.
        best_epoch: epoch of the best model; None if nothing was evaluated.
        folder: folder of the run's files; None if none was asked for.

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
        """Return one line with the steps, the last loss, the last AP, and the best epoch."""
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
