"""Draw bounding boxes with names and scores into pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from darkconv.detection.detect import Detection
from darkconv.errors import one_line
from darkconv.files import PathLike
from darkconv.pictures.drawing import class_color, is_light
from darkconv.pictures.image_file import pillow
from darkconv.pictures.lettering import label_font

if TYPE_CHECKING:
    from PIL.Image import Image

    from darkconv.pictures.lettering import Font


def draw(
    picture: npt.NDArray[np.uint8],
    detections: Sequence[Detection],
    *,
    font: PathLike | None = None,
) -> "Image":
    """Return a copy of a picture with a frame and a label for each detection, the best on top.

    Args:
        picture: uint8 (H, W, 3), RGB.
        detections: the detections, with boxes in pixels of the picture, best first.
        font: the file of the labels' font; None for one that has their letters: see `label_font`.

    Returns:
        A PIL image.

    Raises:
        DarkconvError: the file is not a font that can be read.
    """
    image = pillow("drawing boxes").fromarray(picture)
    size = max(11, round(15 * max(image.size) / 640))
    letters = label_font((one.name for one in detections), size, font)
    for found in reversed(detections):
        _draw_one(image, found, letters)
    return image


def _draw_one(image: "Image", found: Detection, font: "Font") -> None:
    from PIL import ImageDraw

    canvas = ImageDraw.Draw(image)
    scale = max(image.size) / 640
    width = max(2, round(3 * scale))
    color = class_color(found.class_id)
    x0, y0, x1, y1 = _clipped(found.box, image.size)
    canvas.rectangle((x0, y0, x1, y1), outline=color, width=width)
    text = f"{one_line(found.name)} {100 * found.score:.1f}%"
    margin = width
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    wide, high = right - left + 2 * margin, bottom - top + 2 * margin
    x = min(max(0, x0), max(0, image.width - wide))
    y = y0 - high if y0 >= high else y0
    canvas.rectangle((x, y, x + wide, y + high), fill=color)
    ink = (0, 0, 0) if is_light(color) else (255, 255, 255)
    canvas.text((x + margin - left, y + margin - top), text, fill=ink, font=font)


def _clipped(
    box: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    width, height = size
    x0, x1 = (min(max(0.0, x), width - 1) for x in box[::2])
    y0, y1 = (min(max(0.0, y), height - 1) for y in box[1::2])
    return x0, y0, x1, y1
