"""Backgrounds of the digits10 pictures: colours, gradients, noise, stripes, blobs, shapes.

Pictures are float32 (H, W, 3), RGB in 0..1.
"""

import colorsys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Array = npt.NDArray[np.float32]
Rng = np.random.Generator


def colour(rng: Rng, *, strong: bool = False) -> Array:
    """Draw a random colour (3,); a strong one is saturated, or near black or white."""
    if strong and rng.random() < 0.3:
        return np.full(3, rng.choice([0.05, 0.97]), np.float32)
    saturation = rng.uniform(0.6, 1.0) if strong else rng.uniform(0.1, 0.7)
    value = rng.uniform(0.25, 1.0)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value), np.float32)


def near(rng: Rng, base: Array, spread: float) -> Array:
    """Draw a colour not far from another one."""
    return (base + rng.uniform(-spread, spread, 3)).clip(0, 1).astype(np.float32)


def plain(rng: Rng, height: int, width: int) -> Array:
    """One colour."""
    return np.broadcast_to(colour(rng), (height, width, 3)).copy()


def gradient(rng: Rng, height: int, width: int) -> Array:
    """From one colour to another, along a line or outwards from a point."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        place = np.cos(angle) * columns / width + np.sin(angle) * rows / height
    else:
        centre = rng.uniform(0.2, 0.8, 2)
        place = np.hypot(rows / height - centre[0], columns / width - centre[1])
    share = (place - place.min()) / np.ptp(place)
    first = colour(rng)
    return _mixed(first, near(rng, first, 0.45), share)


def stripes(rng: Rng, height: int, width: int) -> Array:
    """Soft stripes of two colours that are much alike."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(14, 50)
    wave = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period)
    first = colour(rng)
    return _mixed(first, near(rng, first, 0.15), 1 / (1 + np.exp(-4 * wave)))


def blobs(rng: Rng, height: int, width: int) -> Array:
    """Colours that run into each other."""
    coarse = rng.integers(2, 6, 2)
    base = colour(rng)
    cells = np.stack([near(rng, base, 0.25) for _ in range(coarse.prod())])
    cells = (cells * 255).astype(np.uint8).reshape(*coarse, 3)
    smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32) / 255


def tiles(rng: Rng, height: int, width: int) -> Array:
    """Draw a pale chequerboard."""
    size = rng.uniform(12, 36)
    rows, columns = np.mgrid[0:height, 0:width] // size
    first = colour(rng)
    return _mixed(first, near(rng, first, 0.1), (rows + columns) % 2)


BACKGROUNDS: tuple[Callable[[Rng, int, int], Array], ...] = (
    plain,
    gradient,
    gradient,
    stripes,
    blobs,
    blobs,
    tiles,
)


def make_background(rng: Rng, height: int, width: int) -> Array:
    """Draw a background, perhaps with shapes on it and grain over it."""
    picture = BACKGROUNDS[rng.integers(len(BACKGROUNDS))](rng, height, width)
    if rng.random() < 0.5:
        picture = _with_shapes(rng, picture)
    if rng.random() < 0.5:
        grain = rng.normal(0, rng.uniform(0.005, 0.035), (height, width, 1))
        picture = picture + grain.astype(np.float32)
    return picture.clip(0, 1).astype(np.float32)


def _mixed(first: Array, second: Array, share: npt.NDArray[np.floating]) -> Array:
    return first + (second - first) * share.astype(np.float32)[..., None]


def _with_shapes(rng: Rng, picture: Array) -> Array:
    """Draw filled shapes of colours near the background's: things that are no digits."""
    height, width, _ = picture.shape
    layer = Image.fromarray((picture * 255).astype(np.uint8))
    draw = ImageDraw.Draw(layer)
    base = picture.mean((0, 1))
    for _ in range(rng.integers(1, 5)):
        fill = tuple((near(rng, base, 0.25) * 255).astype(int).tolist())
        centre = rng.uniform(0, 1, 2) * (width, height)
        _draw_shape(rng, draw, centre, rng.uniform(12, 60), fill)
    drawn = np.asarray(layer, np.float32) / 255
    share = np.float32(rng.uniform(0.4, 1.0))
    return picture + (drawn - picture) * share


def _draw_shape(
    rng: Rng,
    draw: ImageDraw.ImageDraw,
    centre: npt.NDArray[np.float64],
    radius: float,
    fill: tuple[int, ...],
) -> None:
    kind = rng.choice(["disc", "polygon", "line"])
    if kind == "disc":
        draw.ellipse([*(centre - radius), *(centre + radius)], fill=fill)
    elif kind == "polygon":
        start, count = rng.uniform(0, 2 * np.pi), rng.integers(3, 7)
        angles = start + np.arange(count) * 2 * np.pi / count
        corners = centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        draw.polygon([tuple(corner) for corner in corners], fill=fill)
    else:  # across the whole picture, so that it cannot pass for a one
        angle = rng.uniform(0, 2 * np.pi)
        reach = 400 * np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(centre - reach), tuple(centre + reach)]
        draw.line(ends, fill=fill, width=int(rng.integers(2, 10)))
