"""What is run through a model and what is compared with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.files import PathLike
from darkconv.layers.recurrent import Recurrent

BUNDLED = 3  # pictures, where the user gives none
COLOURS = (1, 3)  # channels of networks that take pictures


@dataclass(frozen=True)
class Inputs:
    """What is run.

    Attributes:
        values: (C, H, W) or (inputs,) each.
        words: what it is.
    """

    values: Sequence[Array]
    words: str


def noise(network: Network) -> Array:
    """Return seeded noise in 0..1, as the network takes it."""
    shape = network.input_shape
    values = np.random.default_rng(0).random(shape if shape.is_map else shape.size)
    return values.astype(np.float32)


def picture_input(network: Network, image: PathLike) -> Array:
    """Return a picture as the network takes it, fitted as `detect` fits it."""
    from darkconv.detection.picture import Fit, read_picture

    shape = network.input_shape
    picture = read_picture(image, channels=shape.c, exact=False)
    size = picture.shape[1], picture.shape[0]
    return Fit(size, (shape.w, shape.h), network.options.letterboxes).apply(picture)


def one_input(model: Model, image: PathLike | None) -> Inputs:
    """Return the user's picture, or seeded noise: for values of layers, of which noise has all."""
    network = model.network
    values = noise(network) if image is None else picture_input(network, image)
    source = "seeded noise" if image is None else f"the picture {Path(image).name}"
    return Inputs([values], f"{source} at {network.input_shape}")


def several_inputs(model: Model, image: PathLike | None) -> Inputs:
    """Return the user's picture, or noise and the bundled pictures: noise has hardly any boxes.

    Networks that find no boxes, that take no pictures, or that keep state from one input to the
    next get noise alone.
    """
    network = model.network
    finds_boxes = network.finds_boxes
    keeps_state = any(isinstance(layer.spec, Recurrent) for layer in network.layers)
    takes_pictures = network.input_shape.is_map and network.input_shape.c in COLOURS
    if image is not None or keeps_state or not (finds_boxes and takes_pictures):
        return one_input(model, image)
    from darkconv.assets import digits10_pictures

    pictures = [picture_input(network, path) for path in digits10_pictures()[:BUNDLED]]
    words = f"seeded noise and {BUNDLED} bundled pictures at {network.input_shape}"
    return Inputs([noise(network), *pictures], words)
