"""Recovery: the uncut model teaches the pruned one, by distillation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.core.model import Model
from darkconv.dataset import Dataset
from darkconv.dissection.running import Running
from darkconv.errors import DarkconvError
from darkconv.libraries import telling_missing

if TYPE_CHECKING:
    from darkconv.training.recipe import Recipe

STEPS = 300
"""Default number of weight updates."""
RATE, AVERAGING = 2e-3, 0.99
"""Learning rate and decay of the exponential moving average in recovery: see docs/recovery.md."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Settings of recovery.

    Attributes:
        recipe: training recipe.
        labels: use the labels too.
    """

    recipe: "Recipe"
    labels: bool = False


def plan_recovery(
    *, steps: int | None = None, labels: bool = False, recipe: "Recipe | None" = None
) -> Recovery:
    """Return the settings of recovery.

    Args:
        steps: number of weight updates; None for 300.
        labels: use the labels too.
        recipe: training recipe in place of `steps` and the default; None for the default.

    Raises:
        MissingDependencyError: a package that training needs is not installed.
        DarkconvError: the number of steps is impossible, or given beside a recipe.
    """
    with telling_missing("recovery", extra="train"):
        from darkconv.training.recipe import Recipe
        from darkconv.training.run import finetune  # noqa: F401 - it needs all that trains
    if recipe is not None and steps is not None:
        raise DarkconvError("steps would do nothing: the recipe says how many there are")
    usual = recipe or Recipe(
        steps=STEPS if steps is None else steps,
        rate=RATE,
        averaging=AVERAGING,
        multi_scale=False,
        draw_every=0,
    )
    return Recovery(recipe=usual, labels=labels)


def recover(
    model: Model,
    uncut: Model,
    pictures: Dataset,
    recovery: Recovery,
    *,
    folder: Path | None = None,
    resume: bool = False,
    running: Running,
) -> Model:
    """Return a model that was trained with the uncut one as its teacher.

    Args:
        model: student: the pruned model.
        uncut: teacher: the model with all channels.
        pictures: training pictures; with labels of the kept classes if recovery uses labels.
        recovery: settings of recovery.
        folder: folder of the checkpoints; None to keep none.
        resume: go on from the folder's last checkpoint.
        running: device, and the progress function.

    Raises:
        DarkconvError: see `darkconv.finetune`.
    """
    from darkconv.training.run import finetune

    return finetune(
        model,
        pictures,
        uncut,
        recovery.recipe,
        device=running.device,
        labels=recovery.labels,
        folder=folder,
        resume=resume,
        overwrite=folder is not None and not resume,
        progress=running.told("training steps", _steps(recovery, model, pictures)),
    ).model


def _steps(recovery: Recovery, model: Model, pictures: Dataset) -> int:
    from darkconv.training.recipe import plan_course

    course = plan_course(recovery.recipe, model.network, samples=len(pictures), processes=1)
    return course.steps
