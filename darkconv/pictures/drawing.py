"""Drawings: pictures with boxes, written as PNG or JPEG with a mark, and the colours of classes."""

import colorsys
import io
from typing import TYPE_CHECKING, Any

from darkconv.errors import DarkconvError
from darkconv.files import PathLike, write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

Color = tuple[int, int, int]

GOLDEN_ANGLE = 0.618034  # a step of hue that keeps the colours of neighbouring classes apart
MARK, MARK_WITHIN = b"drawn by darkconv", 1024
"""The comment in every picture that is written; it lies in the file's first MARK_WITHIN bytes."""
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def write_picture(image: "Image", path: PathLike) -> None:
    """Write a PIL image as PNG or JPEG, with a mark by which `is_drawing` recognises it.

    Args:
        image: the PIL image; JPEG needs mode RGB or L.
        path: where to write; its suffix, .png, .jpg or .jpeg, gives the format.

    Raises:
        DarkconvError: the suffix is another one, or the file cannot be written.
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
    """Return True if `write_picture` has written a file.

    Args:
        path: the file; one that cannot be read gives False.
    """
    try:
        with open(path, "rb") as file:
            return MARK in file.read(MARK_WITHIN)
    except OSError:
        return False


def picture_format(path: PathLike) -> str:
    """Return "PNG" or "JPEG", Pillow's name of the format that a path's suffix stands for.

    Args:
        path: the file's path; upper and lower case are the same.

    Raises:
        DarkconvError: the suffix is none of .png, .jpg and .jpeg.
    """
    suffix = "." + str(path).rpartition(".")[2].lower()
    if suffix not in WRITABLE:
        raise DarkconvError(f"{path}: expected a name that ends in .png or .jpg")
    return WRITABLE[suffix]


def class_color(class_id: int) -> Color:
    """Return the colour of a class, as RGB levels from 0 to 255.

    Args:
        class_id: the class index, from 0.
    """
    red, green, blue = colorsys.hsv_to_rgb(class_id * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def is_light(color: Color) -> bool:
    """Return True if black text is easier to read on a colour than white text.

    Args:
        color: RGB levels, 0 to 255.
    """
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
