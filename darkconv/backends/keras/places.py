"""Where an array of Darknet's lies in Keras, and how its axes are turned."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, frozen
from darkconv.core.spec import Slot


class Place(NamedTuple):
    """A variable of a Keras layer.

    Attributes:
        part: of the Darknet layer: "" for its main Keras layer, `000_convolutional`, "bn" for
            `000_convolutional_bn`.
        variable: attribute of the Keras layer.
        axes: order of Darknet's axes in the variable; empty if it is the same.
        view: shape that the array has before its axes are turned; empty for its own. The
            variable may join or part the axes that come out.
    """

    part: str
    variable: str
    axes: tuple[int, ...] = ()
    view: tuple[int, ...] = ()


PlaceTable = Mapping[str, Place]
"""Name of a slot -> where it lies."""


def to_variable(array: Array, place: Place) -> Array:
    """An array with its axes in a variable's order: a view."""
    viewed = array.reshape(place.view) if place.view else array
    return viewed.transpose(place.axes) if place.axes else viewed


def from_variable(value: npt.NDArray[Any], place: Place, slot: Slot) -> Array:
    """The inverse of `to_variable`: a copy of a variable's values, shaped as the slot."""
    values = np.array(value, np.float32)
    if place.axes:
        view = place.view or slot.shape
        values = values.reshape([view[axis] for axis in place.axes])
        values = values.transpose(np.argsort(place.axes))
    return frozen(values.reshape(slot.shape))


def prefixed(prefix: str, places: PlaceTable) -> dict[str, Place]:
    """Places of a layer inside a layer: slots and parts with a prefix."""
    return {
        f"{prefix}.{slot}": place._replace(part=f"{prefix}_{place.part}" if place.part else prefix)
        for slot, place in places.items()
    }
