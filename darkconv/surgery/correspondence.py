"""The correspondence of a model's channels to those of the model from which it was pruned."""

from collections.abc import Iterator

import numpy as np

from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.surgery.channels import Indices

MARKS = ("scales", "rolling_variance")
"""Arrays from which pruning only selects; compensation changes biases and means."""


def find_kept(model: Model, original: Model) -> dict[int, Indices]:
    """Find which channels of the original each layer with batch norm has kept.

    Layers correspond by index, so both networks must have the same layers. Channels correspond by
    their scale and running variance, which removal does not change. Trained layers have other
    values and are not in the result. The order of channels must be that of the original.

    Args:
        model: a pruned or unpruned copy.
        original: the model from which it was made.

    Returns:
        By layer index, ascending indices (from 0) of the original's channels, one for each channel
            of the model.
    """
    pairs = zip(model.network.layers, original.network.layers, strict=False)
    found = {}
    for own, other in pairs:
        if own.type != other.type or not _has_marks(own) or not _has_marks(other):
            continue
        kept = _subsequence(_marks(model, own), _marks(original, other))
        if kept is not None:
            found[own.index] = kept
    return found


def _has_marks(layer: Layer) -> bool:
    names = {slot.name for slot in layer.slots}
    return names.issuperset(MARKS)


def _marks(model: Model, layer: Layer) -> list[tuple[float, ...]]:
    columns = (model.arrays[f"{layer.index}.{name}"].ravel().tolist() for name in MARKS)
    return list(zip(*columns, strict=True))


def _subsequence(few: list[tuple[float, ...]], many: list[tuple[float, ...]]) -> Indices | None:
    """Return the places of `few` in `many`, in order; None if one is missing."""
    places: Iterator[tuple[int, tuple[float, ...]]] = iter(enumerate(many))
    found = []
    for mark in few:
        place = next((index for index, other in places if other == mark), None)
        if place is None:
            return None
        found.append(place)
    return np.array(found, np.int64)
