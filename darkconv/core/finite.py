"""Checks that a model's arrays hold only finite numbers, and variances that have a square root."""

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
    """Check that a file's arrays hold no NaN or infinity, and no variances without a square root.

    A negative variance with which the dialect's program can still compute causes only a warning.

    Args:
        model: the model read from the file; initial values are neither checked nor computed.
        file: name of the file, used in messages.
        remedy: advice for the user, appended to the hint.
        tells: if True, warn of negative variances that still have a square root.

    Raises:
        WeightsError: an array holds NaN or infinity, or a variance has no square root. The message
            names the first such array and the total number of such values.
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
    """Check that a model about to be written will not be refused when it is read back.

    Args:
        model: the model to write; initial values are not checked.
        file: name of the file to write, used in messages.
        allow_nonfinite: if True, warn instead of raising an error.
        remedy: advice for the user, appended to the hint.

    Raises:
        WeightsError: an array holds NaN or infinity, or a variance has no square root.
    """
    try:
        check_finite(model, file, remedy=remedy, tells=False)
    except WeightsError as error:
        if not allow_nonfinite:
            raise
        first = str(error).splitlines()[0]
        logger.warning("%s; whoever reads the file back must allow it", first)


def check_variances(model: Model, file: str, *, remedy: str = "", tells: bool = True) -> None:
    """Check that batch norm can be computed with every variance of a model.

    Args:
        model: the model read from the file; initial values are not checked.
        file: name of the file, used in messages.
        remedy: advice for the user, appended to the hint.
        tells: if True, warn of negative variances that still have a square root.

    Raises:
        WeightsError: a variance has no square root by the rule of the model's dialect.
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
    """Return where batch norm can take the square root of a variance and divide by it.

    The sum of the variance and the dialect's `variance_epsilon` is computed in float32.

    Args:
        dialect: the dialect whose `variance_epsilon` is added.
        variances: float32 array of any shape.

    Returns:
        Boolean array of the same shape.
    """
    epsilon = np.float32(dialect.variance_epsilon)
    inside = variances + epsilon
    return inside > 0 if epsilon else inside >= 0


def count_nonfinite(array: Array) -> int:
    """Return the number of values that are NaN or infinite.

    Args:
        array: float32 array of any shape.
    """
    values = array.ravel()
    with np.errstate(all="ignore"):
        is_sound = np.isfinite(np.dot(values, values))
    if is_sound:  # the sum of squares needs no temporary array, and can only overflow
        return 0
    return array.size - int(np.count_nonzero(np.isfinite(values)))
