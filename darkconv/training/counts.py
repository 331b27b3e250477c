"""Counts of the model's classes in the labels of a run, and the class weights that follow."""

from collections.abc import Mapping, Sequence

from darkconv.core.model import Model
from darkconv.core.names import find_name
from darkconv.dataset import Dataset
from darkconv.errors import DatasetError
from darkconv.layers.box_heads import count_classes
from darkconv.training.recipe import Recipe
from darkconv.training.tasks import Task


def require_known(task: Task, model: Model, hint: str | None = None) -> list[int]:
    """Count the objects, or pictures, of each class of the model in the training data.

    Args:
        task: task of the model, with its training data.
        model: model that learns.
        hint: hint of the error; None for none.

    Raises:
        DatasetError: no label is of a class of the model.
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
    """Compute the factor of each class in the loss.

    "auto" gives each class the same total weight, with a mean of 1 over all objects.

    Args:
        recipe: recipe with the user's class weights.
        model: model that learns.
        counts: number of objects, or pictures, of each class.

    Returns:
        A factor for each class; empty for equal weights.

    Raises:
        DatasetError: the recipe names a class that the model does not have, or has several times,
            or the model does not have one name for each class.
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
    """Raise a DatasetError unless every class of a detector has a name."""
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
    """Return the weights in the order of the model's classes; missing names have the weight 1."""
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
