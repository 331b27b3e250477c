"""recover: let the uncut model teach what is left of it."""

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
"""Updates of the weights if nothing else is said."""
RATE, AVERAGING = 2e-3, 0.99
"""Of recovery: see docs/recovery.md."""


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How a model is recovered.

    Attributes:
        recipe: how to train.
        labels: use the labels too.
    """

    recipe: "Recipe"
    labels: bool = False


def plan_recovery(
    *, steps: int | None = None, labels: bool = False, recipe: "Recipe | None" = None
) -> Recovery:
    """Return how a model is recovered.

    Args:
        steps: updates of the weights; 300 by default.
        labels: use the labels too.
        recipe: how to train, in place of the usual way and of `steps`.

    Raises:
        MissingDependencyError: what trains is not installed.
        DarkconvError: the number of steps means nothing, or would do nothing.
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
    """Return a model that learned from the uncut one.

    Args:
        model: what is left.
        uncut: what teaches.
        pictures: to learn from; with labels of the kept classes where these count.
        recovery: how.
        folder: where checkpoints are kept; by default nowhere.
        resume: go on from the folder's checkpoint.
        running: the device, and who is told how far it is.

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
