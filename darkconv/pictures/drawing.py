"""Pictures that are drawn: written as PNG or JPEG with a mark, and the colours of classes."""

import colorsys
import io
from typing import TYPE_CHECKING, Any

from darkconv.errors import DarkconvError
from darkconv.files import PathLike, write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

Color = tuple[int, int, int]

GOLDEN_ANGLE = 0.618034  # steps of hue under which neighbouring classes look unlike
MARK, MARK_WITHIN = b"drawn by darkconv", 1024
"""A comment in every picture that is written, and the bytes from the start that hold it."""
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


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


def is_light(color: Color) -> bool:
    """Whether black text is easier to read on a colour than white."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
