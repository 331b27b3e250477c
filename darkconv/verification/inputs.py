"""Choose the inputs that a model and what it is compared with are run on."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkconv.core.memory import require_memory
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.detection.detect import fitted_picture
from darkconv.errors import DarkconvError, Where
from darkconv.layers.recurrent import Recurrent
from darkconv.pictures.picture import PictureLike

if TYPE_CHECKING:
    from PIL.Image import Image

    Images = PictureLike | Image | Sequence[PictureLike | Image] | None

PATHS = (str, os.PathLike)
BUNDLED = 3  # bundled pictures that are run where the user gives none
MANY = 24
"""Number of inputs where each gives one value of a class, as a classifier does."""
COLOURS = (1, 3)  # numbers of input channels of networks that take pictures


@dataclass(frozen=True)
class Inputs:
    """The inputs of a comparison.

    Attributes:
        values: float32 arrays, (C, H, W) or (inputs,) each.
        words: description of the inputs for messages.
        batch: number of inputs that run together.
    """

    values: Sequence[Array]
    words: str
    batch: int = 1

    def groups(self) -> Iterator[Sequence[Array]]:
        """Yield the inputs that run together; the last group may be smaller."""
        for start in range(0, len(self.values), self.batch):
            yield self.values[start : start + self.batch]


def noise(network: Network, seed: int = 0) -> Array:
    """Return float32 noise in 0..1, in the shape of the network's input without a batch axis.

    Args:
        network: the network that takes the input.
        seed: seed of the random numbers.
    """
    shape = network.input_shape
    values = np.random.default_rng(seed).random(shape if shape.is_map else shape.size)
    return values.astype(np.float32)


def picture_input(network: Network, image: "PictureLike | Image") -> Array:
    """Return a picture as float32 planes (C, H, W) in 0..1, fitted as `detect` fits it.

    Args:
        network: the network that takes the input.
        image: the picture.
    """
    picture, fit = fitted_picture(network, image, None)
    return fit.apply(picture)


def one_input(model: Model, image: "Images", batch: int = 1, *, least: int = 1) -> Inputs:
    """Return the user's pictures, or noise where there are none.

    Noise is enough to compare the values of layers.

    Args:
        model: the model that takes the inputs.
        image: one picture, several, or None for noise.
        batch: number of inputs that run together; there are at least as many inputs of noise.
        least: the smallest number of inputs of noise.

    Raises:
        DarkconvError: the list of pictures is empty, the values of all layers do not fit into
            memory, or there are several inputs for a network that keeps state.
    """
    network, images = model.network, _listed(image)
    _require_memory(network, batch)
    for name, count in (("image", len(images)), ("batch", batch)):
        if count > 1 and _keeps_state(network):
            raise DarkconvError(
                name, expected="one: the network keeps state between them", found=count
            )
    if not images:
        count = max(batch, least)
        return Inputs(_noises(network, count), _of_noise(network, count), batch)
    values = [picture_input(network, one) for one in images]
    return Inputs(values, f"{_words(images)} at {network.input_shape}", batch)


def several_inputs(
    model: Model, image: "Images", batch: int = 1, *, has_columns: bool = False
) -> Inputs:
    """Return the user's pictures, or noise and bundled pictures, since noise has hardly any boxes.

    Networks that take no pictures, or that keep state from one input to the next, get noise alone.
    So do networks that find no boxes, unless columns are compared.

    Args:
        model: the model that takes the inputs.
        image: the user's picture or pictures; None for noise and bundled pictures.
        batch: number of inputs that run together.
        has_columns: True if each class is compared by itself. A network that gives one value for a
            class needs many inputs for that, so a few pictures are also turned and mirrored.

    Raises:
        DarkconvError: see `one_input`.
    """
    network = model.network
    if _keeps_state(network):
        return one_input(model, image, batch)
    takes_pictures = network.input_shape.is_map and network.input_shape.c in COLOURS
    needs_many = has_columns and not network.finds_boxes
    if image is not None:
        given = one_input(model, image, batch)
        return _turned(given) if needs_many else given
    if not takes_pictures or not (network.finds_boxes or needs_many):
        return one_input(model, None, batch, least=MANY if needs_many else 1)
    from darkconv.assets import digits10_pictures

    _require_memory(network, batch)
    paths = digits10_pictures()[: MANY - 1 if needs_many else BUNDLED]
    pictures = [picture_input(network, path) for path in paths]
    words = f"seeded noise and {len(pictures)} bundled pictures at {network.input_shape}"
    own = _noises(network, max(1, batch - len(pictures)))
    return Inputs([*own, *pictures], words, batch)


def _require_memory(network: Network, batch: int) -> None:
    """Check that the values of all layers of a batch fit into memory in two frameworks.

    Raises:
        DarkconvError: they do not.
    """
    values = sum(layer.out_shape.size for layer in network.layers)
    what = f"all layers of {batch} inputs"
    require_memory(8 * batch * values, what=what, where=Where(file=network.file))


def _noises(network: Network, count: int) -> list[Array]:
    return [noise(network, seed) for seed in range(count)]


def _of_noise(network: Network, count: int) -> str:
    inputs = f"{count} inputs of seeded noise" if count > 1 else "seeded noise"
    return f"{inputs} at {network.input_shape}"


def _turned(given: Inputs) -> Inputs:
    """Return more inputs from few pictures: mirrored, turned and in half the light."""
    first = given.values[0]
    if len(given.values) >= MANY or first.ndim != 3:
        return given
    turns = (False, True) if first.shape[1] == first.shape[2] else (False,)
    forms = list(itertools.product(turns, (1, -1), (1, -1), (1.0, 0.5)))
    forms = forms[: -(-MANY // len(given.values))]
    values = [_in_form(x, *form) for x in given.values for form in forms]
    words = f"{given.words}, in {len(forms)} forms: mirrored, turned and in half the light"
    return Inputs(values, words, given.batch)


def _in_form(x: Array, is_turned: bool, down: int, across: int, light: float) -> Array:
    turned = x[:, ::down, ::across]
    turned = turned.transpose(0, 2, 1) if is_turned else turned
    return np.ascontiguousarray(turned) * np.float32(light)


def _keeps_state(network: Network) -> bool:
    return any(isinstance(layer.spec, Recurrent) for layer in network.layers)


def _listed(image: "Images") -> "list[PictureLike | Image]":
    """Return the pictures as a list; a text, an array and a file are one picture each.

    Raises:
        DarkconvError: an empty list.
    """
    if image is None:
        return []
    if not isinstance(image, list | tuple):
        return [image]  # type: ignore[list-item]
    if not image:
        raise DarkconvError("image: there is no picture in the list")
    return list(image)


def _words(images: "Sequence[PictureLike | Image]") -> str:
    if len(images) > 1:
        return f"{len(images)} pictures"
    (image,) = images
    return f"the picture {Path(image).name}" if isinstance(image, PATHS) else "a picture"
