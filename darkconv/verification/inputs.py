"""What is run through a model and what is compared with it."""

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
BUNDLED = 3  # pictures, where the user gives none
COLOURS = (1, 3)  # channels of networks that take pictures


@dataclass(frozen=True)
class Inputs:
    """What is run.

    Attributes:
        values: (C, H, W) or (inputs,) each.
        words: what it is.
        batch: how many run together.
    """

    values: Sequence[Array]
    words: str
    batch: int = 1

    def groups(self) -> Iterator[Sequence[Array]]:
        """Yield those that run together; the last ones may be fewer."""
        for start in range(0, len(self.values), self.batch):
            yield self.values[start : start + self.batch]


def noise(network: Network, seed: int = 0) -> Array:
    """Return seeded noise in 0..1, as the network takes it."""
    shape = network.input_shape
    values = np.random.default_rng(seed).random(shape if shape.is_map else shape.size)
    return values.astype(np.float32)


def picture_input(network: Network, image: "PictureLike | Image") -> Array:
    """Return a picture as the network takes it, fitted as `detect` fits it."""
    picture, fit = fitted_picture(network, image, None)
    return fit.apply(picture)


def one_input(model: Model, image: "Images", batch: int = 1) -> Inputs:
    """Return the user's pictures, or seeded noise: for values of layers, of which noise has all.

    Args:
        model: that takes them.
        image: one, several, or None.
        batch: how many run together; there is as much noise as that.
    """
    network, images = model.network, _listed(image)
    _require_memory(network, batch)
    for name, count in (("image", len(images)), ("batch", batch)):
        if count > 1 and _keeps_state(network):
            raise DarkconvError(
                name, expected="one: the network keeps state between them", found=count
            )
    if not images:
        return Inputs(_noises(network, batch), _of_noise(network, batch), batch)
    values = [picture_input(network, one) for one in images]
    return Inputs(values, f"{_words(images)} at {network.input_shape}", batch)


def several_inputs(model: Model, image: "Images", batch: int = 1) -> Inputs:
    """Return the user's pictures, or noise and the bundled ones: noise has hardly any boxes.

    Networks that find no boxes, that take no pictures, or that keep state from one input to the
    next get noise alone.
    """
    network = model.network
    takes_pictures = network.input_shape.is_map and network.input_shape.c in COLOURS
    finds_boxes = network.finds_boxes and takes_pictures
    if image is not None or _keeps_state(network) or not finds_boxes:
        return one_input(model, image, batch)
    from darkconv.assets import digits10_pictures

    _require_memory(network, batch)
    pictures = [picture_input(network, path) for path in digits10_pictures()[:BUNDLED]]
    words = f"seeded noise and {BUNDLED} bundled pictures at {network.input_shape}"
    own = _noises(network, max(1, batch - BUNDLED))
    return Inputs([*own, *pictures], words, batch)


def _require_memory(network: Network, batch: int) -> None:
    """Check that the values of all layers for a batch, which two frameworks give, can be held.

    Raises:
        DarkconvError: they cannot.
    """
    values = sum(layer.out_shape.size for layer in network.layers)
    what = f"all layers of {batch} inputs"
    require_memory(8 * batch * values, what=what, where=Where(file=network.file))


def _noises(network: Network, count: int) -> list[Array]:
    return [noise(network, seed) for seed in range(count)]


def _of_noise(network: Network, count: int) -> str:
    inputs = f"{count} inputs of seeded noise" if count > 1 else "seeded noise"
    return f"{inputs} at {network.input_shape}"


def _keeps_state(network: Network) -> bool:
    return any(isinstance(layer.spec, Recurrent) for layer in network.layers)


def _listed(image: "Images") -> "list[PictureLike | Image]":
    """The pictures; a text, an array and a file are one each.

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
