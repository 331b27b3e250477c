"""Decode JPEG files to the levels of stb_image, with which Darknet reads pictures.

Pillow's libjpeg differs by up to 3 levels of 255, for three reasons: the inverse transform
(`jpeg_blocks`), the rounding when the colour planes are enlarged, and the conversion to RGB.
"""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.pictures.image_file import open_quietly
from darkconv.pictures.jpeg_blocks import restore
from darkconv.pictures.jpeg_transform import Levels

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "MPO")
SAMPLINGS = ((1, 1), (2, 1), (1, 2), (2, 2))
STRIP = 64  # rows at a time, for the processor's cache
RGB_IDS = tuple(b"RGB")
LARGEST_ERROR = 2  # levels; a larger one means that libjpeg has enlarged by another rule

# the factors of ITU-T T.871, rounded as stb_image rounds them
CR_TO_RED = round(1.402 * 4096) << 8
CR_TO_GREEN = -round(0.71414 * 4096) << 8
CB_TO_GREEN = -round(0.34414 * 4096) << 8
CB_TO_BLUE = round(1.772 * 4096) << 8
UNIT = 20  # fraction bits of a level in fixed point
GREEN_BITS = -1 << 16  # the bits of green's third term that stb_image uses

Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Component:
    """A colour component of a JPEG file.

    Attributes:
        sampling: the sampling factors (horizontal, vertical), in relation to the other components.
        divisors: (8, 8) the quantization table; coefficients are multiples of its entries.
    """

    sampling: tuple[int, int]
    divisors: Integers


def decode(image: "Image", content: bytes, *, channels: int) -> Levels | None:
    """Decode a JPEG file with the levels of stb_image.

    Args:
        image: the file, opened by Pillow; none of its pixels were read yet.
        content: the file's bytes; it is opened again where the planes are needed at half their
            size.
        channels: 3 for RGB, 1 for grey, which is the file's own luma.

    Returns:
        uint8 (H, W, channels); None if the file is not greyscale or YCbCr of a usual sampling.

    Raises:
        OSError: the file is damaged; Pillow also raises the others of `image_file.BROKEN`.
    """
    parts = components(image)
    if not parts:
        return None
    if len(parts) == 3:
        image.draft("L" if channels == 1 else "YCbCr", image.size)
    planes = np.atleast_3d(np.asarray(image))
    luma = restore(planes[:, :, 0], parts[0].divisors)
    if planes.shape[2] == 1:
        return np.repeat(luma[:, :, None], channels, axis=2)
    chroma = full_chroma(content, planes, parts)
    return to_rgb(luma, *chroma)


def components(image: "Image") -> list[Component]:
    """Return the colour components of a JPEG file, one for grey or three for YCbCr.

    Args:
        image: the file, opened by Pillow.

    Returns:
        An empty list if the file has other components, or a sampling that is not in SAMPLINGS.
    """
    layers = getattr(image, "layer", [])
    tables = getattr(image, "quantization", {})
    if image.format not in FORMATS or any(number not in tables for *_, number in layers):
        return []
    parts = [
        Component((across, down), np.array(tables[number]).reshape(8, 8))
        for _, across, down, number in layers
    ]
    if not all(part.divisors.all() for part in parts):
        return []
    if image.mode == "L" and len(parts) == 1:
        return parts
    is_rgb = image.info.get("adobe_transform") == 0 or tuple(i for i, *_ in layers) == RGB_IDS
    usual = len(parts) == 3 and all(part.sampling == (1, 1) for part in parts[1:])
    usual = usual and parts[0].sampling in SAMPLINGS and min(image.size) > 1
    return parts if image.mode == "RGB" and usual and not is_rgb else []


def _opened(content: bytes) -> "Image":
    return open_quietly(io.BytesIO(content))


def full_chroma(content: bytes, planes: Levels, parts: list[Component]) -> list[Integers]:
    """Return Cb and Cr in the picture's full size, with the levels of stb_image.

    Args:
        content: the bytes of the file.
        planes: (H, W, 3) uint8 YCbCr as libjpeg decodes them.
        parts: the three components of the file.

    Returns:
        Two arrays (H, W) of levels from 0 to 255.
    """
    across, down = parts[0].sampling
    chroma = [(planes[:, :, i], parts[i].divisors) for i in (1, 2)]
    if (across, down) == (1, 1):
        return [restore(plane, divisors) for plane, divisors in chroma]
    if (across, down) == (2, 2):
        halves = half_planes(content)
        return [
            enlarge_twice(restore(halves[:, :, i], parts[i].divisors), planes.shape[:2])
            for i in (1, 2)
        ]
    if down == 2:
        return [_redone_down(plane, divisors) for plane, divisors in chroma]
    return [_redone_down(plane.T, divisors.T, sideways=True).T for plane, divisors in chroma]


def half_planes(content: bytes) -> Levels:
    """Decode a picture at half its size, in which libjpeg does not enlarge Cb and Cr.

    Args:
        content: the bytes of a JPEG file that samples Cb and Cr at half the size, both ways.

    Returns:
        uint8 (ceil(H / 2), ceil(W / 2), 3), YCbCr.
    """
    with _opened(content) as image:
        image.draft("YCbCr", (image.width // 2, image.height // 2))
        return np.asarray(image)


def _redone_down(plane: Levels, divisors: Integers, *, sideways: bool = False) -> Integers:
    """Return a plane that libjpeg has enlarged vertically, enlarged by stb_image's rule instead."""
    small = restore(reduce_down(plane), divisors)
    redone = (enlarge_down(small, len(plane)) + 2) >> 2
    if np.abs(redone - plane.astype(np.int16)).max() > LARGEST_ERROR:
        return plane
    if sideways and len(small) > 1:
        # horizontally, stb_image swaps the weights of the last pair
        redone[2 * len(small) - 2] = (3 * small[-2].astype(np.int16) + small[-1] + 2) >> 2
    return redone


def reduce_down(plane: Levels) -> Levels:
    """Return the plane from which libjpeg has made a plane of twice the height.

    Of each pair of enlarged rows the upper one is (3 * own + above + 1) >> 2, the lower one
    (3 * own + below + 2) >> 2. Few levels satisfy one of these equations, fewer satisfy both.

    Args:
        plane: uint8 (H, W), enlarged vertically.

    Returns:
        uint8 (ceil(H / 2), W).
    """
    large = 4 * plane.astype(np.int16)
    upper, lower = large[::2], large[1::2]
    small = np.empty(upper.shape, np.int16)
    small[0] = plane[0]
    for i in range(1, len(small)):
        above = small[i - 1]
        least = np.maximum((upper[i] - above + 1) // 3, lower[i - 1] - 3 * above - 2)
        np.minimum(least, (upper[i] - above + 2) // 3, out=small[i])
    return small.clip(0, 255).astype(np.uint8)


def enlarge_down(plane: Integers, height: int) -> npt.NDArray[np.int16]:
    """Return a plane at twice its height; each row is 3 parts the nearer, 1 the farther row.

    Args:
        plane: (h, W) levels from 0 to 255.
        height: the rows of the result, 2h or 2h - 1.

    Returns:
        int16 (height, W), 4 times the levels.
    """
    beside = np.pad(plane.astype(np.int16), ((1, 1), (0, 0)), "edge")
    near = 3 * beside[1:-1]
    large = np.empty((2 * len(plane), plane.shape[1]), np.int16)
    np.add(near, beside[:-2], out=large[::2])
    np.add(near, beside[2:], out=large[1::2])
    return large[:height]


def enlarge_twice(plane: Levels, size: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Return a plane enlarged to twice its height and width by stb_image's rule.

    Args:
        plane: uint8 (h, w).
        size: (height, width) of the result, each twice as large as the plane or one less.

    Returns:
        int16 (height, width), levels from 0 to 255.
    """
    height, width = size
    rows = enlarge_down(plane, height)
    beside = np.pad(rows, ((0, 0), (1, 1)), "edge")
    near = 3 * rows + 8
    large = np.empty((height, 2 * rows.shape[1]), np.int16)
    np.add(near, beside[:, :-2], out=large[:, ::2])
    np.add(near, beside[:, 2:], out=large[:, 1::2])
    large >>= 4
    return large[:, :width]


def to_rgb(luma: Integers, cb: Integers, cr: Integers) -> Levels:
    """Convert YCbCr to RGB with stb_image's integer arithmetic.

    Args:
        luma: (H, W) levels from 0 to 255.
        cb: (H, W) levels from 0 to 255.
        cr: (H, W) levels from 0 to 255.

    Returns:
        uint8 (H, W, 3).
    """
    picture = np.empty((*luma.shape, 3), np.uint8)
    for top in range(0, len(luma), STRIP):
        rows = slice(top, top + STRIP)
        y = (luma[rows].astype(np.int32) << UNIT) + (1 << (UNIT - 1))
        blue, red = (part[rows].astype(np.int32) - 128 for part in (cb, cr))
        levels = (
            y + red * CR_TO_RED,
            y + red * CR_TO_GREEN + (blue * CB_TO_GREEN & GREEN_BITS),
            y + blue * CB_TO_BLUE,
        )
        for channel, level in enumerate(levels):
            level >>= UNIT
            picture[rows, :, channel] = level.clip(0, 255)
    return picture
