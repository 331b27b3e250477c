"""Where an array of Darknet's lies in Keras, and how its axes are turned."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen

BLOCK = 32


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
    """A copy with its axes in a variable's order: some backends write into what they are given."""
    viewed = array.reshape(place.view) if place.view else array
    if not place.axes:
        return np.array(viewed)
    out = np.empty([viewed.shape[axis] for axis in place.axes], np.float32)
    copy_blocks(viewed, in_darknet(out, place))
    return out


def from_variable(value: npt.NDArray[Any], place: Place, slot: Slot) -> Array:
    """The inverse of `to_variable`: a copy of a variable's values, shaped as the slot."""
    out = np.empty(place.view or slot.shape, np.float32)
    if place.axes:
        copy_blocks(in_darknet(value.reshape([out.shape[axis] for axis in place.axes]), place), out)
    else:
        out[...] = value.reshape(out.shape)
    return frozen(out.reshape(slot.shape))


def in_darknet(variable: npt.NDArray[Any], place: Place) -> npt.NDArray[Any]:
    """A view of a variable's values, its axes in Darknet's order."""
    return variable.transpose(np.argsort(place.axes))


def copy_blocks(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy between kernels (outputs, inputs, ...) of different order in memory.

    So few outputs and inputs at a time stay in the cache: twice as fast as all at once.
    """
    if source.ndim < 2:
        target[...] = source
        return
    for row in range(0, source.shape[0], BLOCK):
        for column in range(0, source.shape[1], BLOCK):
            block = slice(row, row + BLOCK), slice(column, column + BLOCK)
            target[block] = source[block]


def prefixed(prefix: str, places: PlaceTable) -> dict[str, Place]:
    """Places of a layer inside a layer: slots and parts with a prefix."""
    return {
        f"{prefix}.{slot}": place._replace(part=f"{prefix}_{place.part}" if place.part else prefix)
        for slot, place in places.items()
    }
