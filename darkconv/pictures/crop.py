"""The centre crop of a picture, which is a classifier's input."""

import numpy as np

from darkconv.core.model import Array
from darkconv.pictures.picture import Picture, resize


def centre_crop(picture: Picture, canvas: tuple[int, int]) -> Array:
    """Return the centre of a picture, scaled until it covers the network's input.

    For square networks the shorter side of the picture becomes the network's width, by C's integer
    division. AlexeyAB's classifier does so, and pjreddie's since its versions of 2017.

    Args:
        picture: (H, W, C) uint8 levels, 0 to 255.
        canvas: (width, height) of the network input.

    Returns:
        float32 (C, height, width) in 0..1.
    """
    (width, height), (net_width, net_height) = (picture.shape[1], picture.shape[0]), canvas
    if width * net_height < height * net_width:
        wide, high = net_width, max(net_height, height * net_width // width)
    else:
        wide, high = max(net_width, width * net_height // height), net_height
    left, top = (wide - net_width) // 2, (high - net_height) // 2
    whole = resize(picture, wide, high)
    return np.ascontiguousarray(whole[:, top : top + net_height, left : left + net_width])
