"""Image files: opened with their sizes checked, and their pixels as RGB."""

import contextlib
import io
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.darknet.signatures import Recognised, recognise
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.notice import warn_once
from darkconv.libraries import telling_missing

if TYPE_CHECKING:
    from PIL.Image import Image

Levels = npt.NDArray[np.uint8]

MOST_PIXELS = 89_478_485
"""Of a picture: a quarter of a GiB as RGB."""
MOST_BYTES = 1 << 30
"""Of a file: no picture of so many pixels needs more."""
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA")
"""Pillow's names of the formats that are opened, whatever a file is called: all are decoded inside
the process. Pillow knows others, of which EPS starts Ghostscript."""
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif"),
        *(".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"),
    )
)
"""Ends of file names that count as pictures in folders and lists, in lower case."""
ORIENTATION = 274  # EXIF's tag
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError,
    struct.error,
)  # fmt: skip
"""What Pillow raises on files that are damaged."""
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""What PostScript begins with, as a text and with a preview."""
START = 512  # bytes by which a file that is no picture is recognised

_OPENING = threading.Lock()  # Python's filters of warnings are those of all threads


def pillow(task: str) -> ModuleType:
    """The module PIL.Image.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    with telling_missing(task):
        from PIL import Image
    return Image


def read_content(path: PathLike) -> bytes:
    """The bytes of a picture's file.

    Raises:
        DatasetError: there is no such file, it cannot be read, or it is too large.
    """
    where = Where(file=os.fspath(path))
    if not os.fspath(path):
        raise DatasetError("picture", expected="a file", found="an empty text")
    try:
        _check_file(path, where)
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # of a name with a NUL character
        raise _unread(error, where) from None


@contextlib.contextmanager
def opened(path: PathLike, content: bytes | None = None) -> "Iterator[Image]":
    """A picture's file, open; its pixels are read when they are asked for.

    Args:
        path: the file.
        content: its bytes, where they were read before.

    Raises:
        DatasetError: it cannot be read, is no picture, or is too large; also where the block
            finds it broken.
        MissingDependencyError: Pillow is not installed.
    """
    image_module = pillow("reading pictures")
    where = Where(file=os.fspath(path))
    try:
        if content is None:
            _check_file(path, where)
        with open_quietly(path if content is None else io.BytesIO(content)) as image:
            _check_pixels(image.width * image.height, where)
            yield image
    except image_module.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        _check_pixels(int(count[0]) if count else MOST_PIXELS + 1, where)
    except image_module.UnidentifiedImageError:
        raise _no_picture(path, content, where) from None
    except BROKEN as error:
        raise _unread(error, where) from error


def open_quietly(source: PathLike | io.BytesIO) -> "Image":
    """Open one of `FORMATS` without Python's warnings, which are about sizes and tags."""
    image_module = pillow("reading pictures")
    with _OPENING, warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            image: Image = image_module.open(source, formats=FORMATS[:2])
        except image_module.UnidentifiedImageError:
            image_module.init()  # imports the other plugins; Pillow may be built without some
            known = [name for name in FORMATS if name in image_module.OPEN]
            image = image_module.open(source, formats=known)
        return image


def is_picture(path: PathLike) -> bool:
    """Return True if a file's name says that it is a picture; hidden files do not count."""
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _check_file(path: PathLike, where: Where) -> None:
    """Refuse what is no file, or too large, before it is read."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise DatasetError("is a folder, not a picture", where=where)
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError("is no file", where=where)
    if status.st_size > MOST_BYTES:
        raise DatasetError(
            where=where, expected=f"a picture of at most {MOST_BYTES:,} bytes",
            found=f"{status.st_size:,}",
        )  # fmt: skip


def _check_pixels(count: int, where: Where) -> None:
    if count > MOST_PIXELS:
        expected = f"a picture of at most {MOST_PIXELS:,} pixels"
        raise DatasetError(where=where, expected=expected, found=f"{count:,}")


def _unread(error: Exception, where: Where) -> DatasetError:
    """Why the system or Pillow gave up."""
    if isinstance(error, FileNotFoundError):
        return DatasetError("no such file", where=where)
    if isinstance(error, OSError) and error.strerror:
        return DatasetError(f"cannot read: {error.strerror}", where=where)
    return DatasetError(f"cannot be read as a picture: {error}", where=where)


def _no_picture(path: PathLike, content: bytes | None, where: Where) -> DatasetError:
    """What a file is that Pillow does not know."""
    if content is None:
        with open(path, "rb") as file:
            content = file.read(START)
    if not content:
        return DatasetError("is empty", where=where)
    known = recognise(content[:START].ljust(16), max(len(content), 16))
    if known is None or content.startswith(POSTSCRIPT):
        return DatasetError("is not a picture in a known format", where=where, hint=_hint(content))
    return _recognised(known, where)


def _hint(content: bytes) -> str | None:
    """What helps with pictures in formats that are not opened."""
    if content.startswith(POSTSCRIPT):
        return "it is PostScript (EPS), a program, and is never run: convert it to PNG"
    if content[4:8] == b"ftyp":
        return "it is HEIC or a film: convert it to JPEG"
    return None


def _recognised(known: Recognised, where: Where) -> DatasetError:
    if known.what.endswith("picture"):
        return DatasetError(f"is {known.what} that is broken or of an unknown kind", where=where)
    hint = known.hint if known.what in ("an HTML page", "a Git LFS pointer") else None
    return DatasetError(f"is {known.what}, not a picture", where=where, hint=hint)


def rgb_levels(image: "Image", where: Where) -> Levels:
    """The pixels of an open picture as it lies, (H, W, 3).

    Of 16 bits the upper 8 count, and transparency is dropped, as stb_image has it.

    Raises:
        DatasetError: levels of other kinds.
    """
    has_16_bits = is_deep(image)
    if image.mode[0] in "IF":
        levels = np.repeat(_upper_bits(image, where)[:, :, None], 3, axis=2)
    else:
        levels = np.array(_opaque(image, where), np.uint8)
    if has_16_bits:
        warn_once(where, "16-bit picture, read as 8-bit")
    if holds_more(image):
        warn_once(where, "holds several pictures, of which the first is read")
    return levels


def _opaque(image: "Image", where: Where) -> "Image":
    """An image as RGB, without transparency."""
    if image.mode == "CMYK":
        warn_once(where, "CMYK picture, read as RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            warn_once(where, "transparency is dropped, as Darknet does")
    return image if image.mode == "RGB" else image.convert("RGB")


def holds_more(image: "Image") -> bool:
    """Whether other pictures follow in the file: of a GIF, a TIFF, a WebP or an animated PNG.

    What follows in a JPEG is a preview of the same picture.
    """
    with contextlib.suppress(*BROKEN):
        return image.format not in ("JPEG", "MPO") and bool(getattr(image, "is_animated", False))
    return True


def is_deep(image: "Image") -> bool:
    """Whether a file that was not yet read has 16 bits for a level."""
    tiles = getattr(image, "tile", ())
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in tiles)


def _upper_bits(image: "Image", where: Where) -> Levels:
    levels: npt.NDArray[np.integer[Any] | np.floating[Any]] = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 0xFFFF:
        found = f"{levels.min():g} to {levels.max():g}"
        raise DatasetError(where=where, expected="levels of 8 or 16 bits", found=found)
    return (levels.astype(np.int32) >> 8).astype(np.uint8)


def orientation(image: "Image", where: Where) -> int:
    """How a picture lies, by EXIF's numbers: 1 is upright. Broken data are told and ignored."""
    value: object = None
    try:
        with _OPENING, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = image.getexif().get(ORIENTATION)
        is_broken = any("EXIF" in str(warning.message) for warning in caught)
    except OSError:  # some formats keep it at the end, and the end is missing
        raise
    except BROKEN:
        is_broken = True
    if is_broken and value is None:
        warn_once(where, "its EXIF data are broken and ignored")
    return value if isinstance(value, int) and value in range(1, 9) else 1


def upright(levels: Levels, lying: int) -> Levels:
    """(H, W, C) turned and mirrored as EXIF's number of its orientation says."""
    if lying == 1:
        return levels
    if lying in (5, 6, 7, 8):
        levels = levels.swapaxes(0, 1)
    down = -1 if lying in (3, 4, 7, 8) else 1
    across = -1 if lying in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(levels[::down, ::across])
