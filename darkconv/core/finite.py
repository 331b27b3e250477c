"""Whether the arrays of a model hold finite numbers only."""

import numpy as np

from darkconv.core.model import Array, Model
from darkconv.errors import WeightsError, Where

CAUSE = "the training has diverged, or the file is damaged"


def check_finite(model: Model, file: str, *, remedy: str = "") -> None:
    """Look for NaN and infinity in the arrays that a file gave.

    Args:
        model: what was read; initial values are not looked at, nor made.
        file: that it was read from.
        remedy: what the user can do, for the hint.

    Raises:
        WeightsError: there are some; it says where the first are, and how many in all.
    """
    broken = {
        (layer.index, layer.section.name, slot.name, slot.size): count
        for key, layer, slot in model.network.keyed_slots()
        if layer.index not in model.initial_layers and (count := count_nonfinite(model.arrays[key]))
    }
    if not broken:
        return
    (index, section, name, size), count = next(iter(broken.items()))
    total = sum(broken.values())
    verb = "is" if count == 1 else "are"
    more = f", and {total - count} in other arrays" if total > count else ""
    raise WeightsError(
        f"{count} of the {size} values of its {name} {verb} NaN or infinite{more}",
        where=Where(file=file, layer=index, section=section),
        hint="; ".join(filter(None, (CAUSE, remedy))),
    )


def count_nonfinite(array: Array) -> int:
    """How many values are NaN or infinite."""
    values = array.ravel()
    with np.errstate(all="ignore"):
        is_sound = np.isfinite(np.dot(values, values))
    if is_sound:  # a sum of squares without a temporary array; it may only overflow
        return 0
    return array.size - int(np.count_nonzero(np.isfinite(values)))
