"""Blur and noise, as AlexeyAB's Darknet adds them."""

import numpy as np

from darkconv.augmentation.box_rows import Rows
from darkconv.core.model import Array

BACKGROUND = 1
"""Value of `blur=` at which objects stay sharp."""
BACKGROUND_SIZE = 17
"""Width of the background's blur in pixels."""
FINEST = 8
"""Smallest ratio of the smallest object's side to the blur of a whole picture."""
MOST_NOISE = 127


def draw_blur(rng: np.random.Generator, blur: int) -> int:
    """Draw the blur of a picture: none, of the background, or of the given width, equally often.

    Args:
        rng: random generator of this draw.
        blur: width of the blur in pixels; 1 for the background alone, 0 for never.

    Returns:
        0, `BACKGROUND` or `blur`.
    """
    return (0, BACKGROUND, blur)[rng.integers(3)] if blur else 0


def add_blur(x: Array, blur: int, rows: Rows) -> Array:
    """Blur a picture, or its background.

    Args:
        x: (C, H, W) picture.
        blur: 1 for the background alone, otherwise about the width of the blur in pixels.
        rows: (k, 5) class and xyxy box of the objects, in pixels.

    Returns:
        A picture of the same shape.
    """
    if blur == BACKGROUND:
        blurred = _smooth(x, BACKGROUND_SIZE)
        for left, top, right, bottom in rows[:, 1:].clip(0).astype(int):
            blurred[:, top:bottom, left:right] = x[:, top:bottom, left:right]
        return blurred
    sides = rows[:, 3:] - rows[:, 1:3]
    limit = int(sides.min()) // FINEST if len(rows) else blur
    size = min(blur, limit) // 2 * 2 + 1
    return _smooth(x, size) if size > 1 else x


def _smooth(x: Array, size: int) -> Array:
    """Compute a Gaussian blur; its standard deviation follows from the width, as in OpenCV."""
    import torch
    from torch.nn import functional

    deviation = 0.3 * ((size - 1) / 2 - 1) + 0.8
    size = min(size, 2 * min(x.shape[1:]) - 1)  # the mirrored border has no more pixels
    places = torch.arange(size, dtype=torch.float32) - size // 2
    kernel = torch.exp(-(places**2) / (2 * deviation**2))
    kernel /= kernel.sum()
    planes = torch.from_numpy(x)[:, None]
    padded = functional.pad(planes, (size // 2,) * 4, mode="reflect")
    across = functional.conv2d(padded, kernel.reshape(1, 1, 1, size))
    smooth: Array = functional.conv2d(across, kernel.reshape(1, 1, size, 1))[:, 0].numpy()
    return smooth


def add_noise(x: Array, deviation: int, rng: np.random.Generator) -> Array:
    """Add Gaussian noise in every other draw.

    C adds noise to unsigned bytes, so it only makes pictures brighter. Here it has both signs.

    Args:
        x: (C, H, W) picture in 0..1.
        deviation: standard deviation in grey levels, at most 127; 0 for no noise.
        rng: random generator of this draw.

    Returns:
        A picture of the same shape in 0..1.
    """
    if not deviation or rng.random() < 0.5:
        return x
    scale = np.float32(min(deviation, MOST_NOISE) / 255)
    noisy: Array = x + scale * rng.standard_normal(x.shape, np.float32)
    return noisy.clip(0, 1)
