"""Whether the arrays of a model hold finite numbers only, and variances that have a root."""

import logging

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import Dialect
from darkconv.core.model import Array, Model
from darkconv.errors import WeightsError, Where

logger = logging.getLogger("darkconv")

CAUSE = "the training has diverged, or the file is damaged"
VARIANCE = "rolling_variance"


def check_finite(model: Model, file: str, *, remedy: str = "", tells: bool = True) -> None:
    """Look for NaN and infinity in the arrays that a file gave, and for variances without a root.

    A negative variance that the dialect's program computes with all the same is a warning.

    Args:
        model: what was read; initial values are not looked at, nor made.
        file: that it was read from.
        remedy: what the user can do, for the hint.
        tells: warn of negative variances that have a root.

    Raises:
        WeightsError: there are some; it says where the first are, and how many in all.
    """
    broken = {
        (layer.index, layer.section.name, slot.name, slot.size): count
        for key, layer, slot in model.network.keyed_slots()
        if layer.index not in model.initial_layers and (count := count_nonfinite(model.arrays[key]))
    }
    if not broken:
        check_variances(model, file, remedy=remedy, tells=tells)
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


def check_kept(model: Model, file: str, *, allow_nonfinite: bool, remedy: str) -> None:
    """Look at a model that is to be written: what would be refused when it is read back.

    Args:
        model: that is written; initial values are not looked at.
        file: that it is written to.
        allow_nonfinite: warn, and raise nothing.
        remedy: what the user can do, for the hint.

    Raises:
        WeightsError: an array holds NaN or infinity, or a variance has no root.
    """
    try:
        check_finite(model, file, remedy=remedy, tells=False)
    except WeightsError as error:
        if not allow_nonfinite:
            raise
        first = str(error).splitlines()[0]
        logger.warning("%s; whoever reads the file back must allow it", first)


def check_variances(model: Model, file: str, *, remedy: str = "", tells: bool = True) -> None:
    """Look for variances that a batch norm cannot be computed with.

    Args:
        model: what was read.
        file: that it was read from.
        remedy: what the user can do, for the hint.
        tells: warn of negative variances that have a root.

    Raises:
        WeightsError: a variance has no root by the rule of the model's dialect.
    """
    for key, layer, slot in model.network.keyed_slots():
        if not slot.name.endswith(VARIANCE) or layer.index in model.initial_layers:
            continue
        variances = model.arrays[key]
        count = int(np.count_nonzero(variances < 0))
        if not count:
            continue
        where = Where(file=file, layer=layer.index, section=layer.section.name)
        what = f"{count} of {slot.size} variances {'is' if count == 1 else 'are'} negative"
        rootless = int(np.count_nonzero(~has_root(model.dialect, variances)))
        if rootless:
            of_these = "" if rootless == count else f"{rootless} of them "
            raise WeightsError(
                f"{what}, and {of_these}{'has' if rootless == 1 else 'have'} no root",
                where=where,
                hint="; ".join(filter(None, (CAUSE, remedy))),
            )
        if tells:
            added = model.dialect.variance_epsilon
            logger.warning("%s: %s; the root is taken after %g is added", where, what, added)


def has_root(dialect: Dialect, variances: Array) -> npt.NDArray[np.bool_]:
    """Return where batch norm can divide by a root: what is added inside it counts, in float32."""
    epsilon = np.float32(dialect.variance_epsilon)
    inside = variances + epsilon
    return inside > 0 if epsilon else inside >= 0


def count_nonfinite(array: Array) -> int:
    """How many values are NaN or infinite."""
    values = array.ravel()
    with np.errstate(all="ignore"):
        is_sound = np.isfinite(np.dot(values, values))
    if is_sound:  # a sum of squares without a temporary array; it may only overflow
        return 0
    return array.size - int(np.count_nonzero(np.isfinite(values)))
