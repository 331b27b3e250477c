"""Boxes with names and scores, drawn into pictures."""

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.detection.detect import Detection
from darkconv.detection.image_file import pillow
from darkconv.detection.lettering import label_font
from darkconv.errors import DarkconvError, one_line
from darkconv.files import PathLike, write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from darkconv.detection.lettering import Font

Color = tuple[int, int, int]

GOLDEN_ANGLE = 0.618034  # steps of hue under which neighbouring classes look unlike
MARK, MARK_WITHIN = b"drawn by darkconv", 1024
"""A comment in every picture that is written, and the bytes from the start that hold it."""
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def draw(
    picture: npt.NDArray[np.uint8],
    detections: Sequence[Detection],
    *,
    font: PathLike | None = None,
) -> "Image":
    """A copy of a picture with a frame and a label for each detection, best on top.

    Args:
        picture: RGB levels, (H, W, 3).
        detections: boxes in pixels of the picture.
        font: file of the labels' font; by default one that has their letters: see `label_font`.

    Returns: a PIL image.

    Raises:
        DarkconvError: the file is no font.
    """
    image = pillow("drawing boxes").fromarray(picture)
    size = max(11, round(15 * max(image.size) / 640))
    letters = label_font((one.name for one in detections), size, font)
    for found in reversed(detections):
        _draw_one(image, found, letters)
    return image


def write_picture(image: "Image", path: PathLike) -> None:
    """Write a PIL image as PNG or JPEG, as the file's suffix says; `is_drawing` knows it again.

    Raises:
        DarkconvError: another suffix, or the file cannot be written.
    """
    buffer = io.BytesIO()
    kind = picture_format(path)
    image.save(buffer, format=kind, quality=92, **_marked(kind))
    write_bytes(path, [buffer.getvalue()])


def _marked(kind: str) -> dict[str, Any]:
    if kind == "JPEG":
        return {"comment": MARK}
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Comment", MARK.decode())
    return {"pnginfo": text}


def is_drawing(path: PathLike) -> bool:
    """Return True if `write_picture` has written a file."""
    try:
        with open(path, "rb") as file:
            return MARK in file.read(MARK_WITHIN)
    except OSError:
        return False


def picture_format(path: PathLike) -> str:
    """PNG or JPEG, by the suffix of a path.

    Raises:
        DarkconvError: another suffix.
    """
    suffix = "." + str(path).rpartition(".")[2].lower()
    if suffix not in WRITABLE:
        raise DarkconvError(f"{path}: expected a name that ends in .png or .jpg")
    return WRITABLE[suffix]


def class_color(class_id: int) -> Color:
    """A colour of its own for each class."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


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


def is_light(color: Color) -> bool:
    """Whether black text is easier to read on a colour than white."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
