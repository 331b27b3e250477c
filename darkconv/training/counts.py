"""What the labels of a run say of the model's classes: how many there are, and what they weigh."""

from collections.abc import Mapping, Sequence

from darkconv.core.model import Model
from darkconv.core.names import find_name
from darkconv.dataset import Dataset
from darkconv.errors import DatasetError
from darkconv.layers.box_heads import count_classes
from darkconv.training.recipe import Recipe
from darkconv.training.tasks import Task


def require_known(task: Task, model: Model, hint: str | None = None) -> list[int]:
    """How many objects or pictures of each of the model's classes there are.

    Raises:
        DatasetError: there is none.
    """
    counts = task.counts()
    if not any(counts):
        has_boxes = not isinstance(task.data, Dataset) or task.data.labelled
        found = task.data.names if has_boxes else ()
        raise DatasetError(
            f"{task.data.source}: no label is of a class of the model",
            expected=", ".join(model.names[:10]) or "class names",
            found=", ".join(found[:10]) or "no labels",
            hint=hint,
        )
    return counts


def class_weights(recipe: Recipe, model: Model, counts: Sequence[int]) -> tuple[float, ...]:
    """Factors of the classes; "auto" gives each the same total, with a mean of 1 over objects.

    Raises:
        DatasetError: the recipe names a class that the model does not have, or that several are
            called, or the model's names are not as many as its classes.
    """
    given = recipe.class_weights
    if given == "auto" or isinstance(given, Mapping):
        _require_all_names(model)
    if isinstance(given, Mapping):
        return _named_weights(given, model)
    if given != "auto":
        return tuple(given)
    present = [count for count in counts if count]
    return tuple(sum(present) / len(present) / count if count else 1.0 for count in counts)


def _require_all_names(model: Model) -> None:
    """Raise unless every class of a detector has a name: class weights go by them."""
    for head in model.network.box_heads:
        classes, names = count_classes(head), len(model.names)
        if names != classes and not getattr(head.spec, "map", ""):
            raise DatasetError(
                f"{model.network.file}: class weights go by class name",
                expected=f"{classes} names, one for each class",
                found=f"{names} names",
                hint="--names FILE (in Python names=) says which names the model's classes have",
            )


def _named_weights(given: Mapping[str, float], model: Model) -> tuple[float, ...]:
    """Return the weights by the model's classes; those that are not named weigh 1."""
    weights = [1.0] * len(model.names)
    for name, weight in given.items():
        place = find_name(model.names, name)
        if place is None:
            raise DatasetError(
                f"class_weights: the model has no class {name}",
                expected=", ".join(model.names[:10]) or "a model with class names",
            )
        weights[place] = float(weight)
    return tuple(weights)
