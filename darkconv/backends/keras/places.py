"""The place of an array of Darknet's in a Keras model, and the order of its axes there."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen

BLOCK = 32


class ArrayPlace(NamedTuple):
    """A variable of a Keras layer that holds an array.

    Attributes:
        part: last part of the Keras layer's name: "" for the main layer, `000_convolutional`, and
            "bn" for `000_convolutional_bn`.
        variable: name of the Keras layer's attribute.
        axes: Darknet's axes, numbered from 0, in the order of the variable; empty for the same
            order.
        view: shape that the array gets before its axes are reordered; empty for its own. The
            variable may merge or split the resulting axes.
    """

    part: str
    variable: str
    axes: tuple[int, ...] = ()
    view: tuple[int, ...] = ()


PlaceTable = Mapping[str, ArrayPlace]
"""From the name of a slot to its place."""


def to_variable(array: Array, place: ArrayPlace) -> Array:
    """Copy an array, with its axes in the order of a variable: some backends write to their input.

    Args:
        array: array of a Model.
        place: place of the array.
    """
    viewed = array.reshape(place.view) if place.view else array
    if not place.axes:
        return np.array(viewed)
    out = np.empty([viewed.shape[axis] for axis in place.axes], np.float32)
    copy_blocks(viewed, in_darknet(out, place))
    return out


def from_variable(value: npt.NDArray[Any], place: ArrayPlace, slot: Slot) -> Array:
    """Copy the values of a variable into an array of a Model: the inverse of `to_variable`.

    Args:
        value: values of the variable.
        place: place of the array.
        slot: slot with the array's shape.
    """
    out = np.empty(place.view or slot.shape, np.float32)
    if place.axes:
        copy_blocks(in_darknet(value.reshape([out.shape[axis] for axis in place.axes]), place), out)
    else:
        out[...] = value.reshape(out.shape)
    return frozen(out.reshape(slot.shape))


def in_darknet(variable: npt.NDArray[Any], place: ArrayPlace) -> npt.NDArray[Any]:
    """Return a view of a variable's values with their axes in Darknet's order.

    Args:
        variable: values with axes in the order of the variable.
        place: place of the array.
    """
    return variable.transpose(np.argsort(place.axes))


def copy_blocks(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Copy between kernels (outputs, inputs, ...) of different order in memory.

    It copies few outputs and inputs at a time, which stay in the processor's cache: that is twice
    as fast as all at once.

    Args:
        source: kernel that is read.
        target: kernel of the same shape that is written.
    """
    if source.ndim < 2:
        target[...] = source
        return
    for row in range(0, source.shape[0], BLOCK):
        for column in range(0, source.shape[1], BLOCK):
            block = slice(row, row + BLOCK), slice(column, column + BLOCK)
            target[block] = source[block]


def prefixed(prefix: str, places: PlaceTable) -> dict[str, ArrayPlace]:
    """Return the places of a layer inside a layer: slots and parts with a prefix.

    Args:
        prefix: name of the inner layer.
        places: its places.
    """
    return {
        f"{prefix}.{slot}": place._replace(part=f"{prefix}_{place.part}" if place.part else prefix)
        for slot, place in places.items()
    }
