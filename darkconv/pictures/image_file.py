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
"""The most pixels of a picture that is read: a quarter of a GiB as RGB."""
MOST_BYTES = 1 << 30
"""The most bytes of a file that is read; no picture of MOST_PIXELS needs more."""
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "TGA")
"""Pillow's names of the formats that are opened, whatever the file's suffix. All of them are
decoded inside the process; of Pillow's other formats, EPS would start Ghostscript."""
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".gif"),
        *(".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"),
    )
)
"""Suffixes of the files that are pictures in folders and lists, in lower case."""
ORIENTATION = 274  # EXIF's tag
BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError,
    struct.error,
)  # fmt: skip
"""The exceptions that Pillow raises on damaged files."""
POSTSCRIPT = (b"%!PS", b"\xc5\xd0\xd3\xc6")
"""The first bytes of PostScript files: as text, and with a preview."""
START = 512  # the first bytes, by which a file that is no picture is recognised

_OPENING = threading.Lock()  # all threads share Python's warning filters


def pillow(task: str) -> ModuleType:
    """Import and return the module PIL.Image.

    Args:
        task: the purpose that the error names if Pillow is missing.

    Returns:
        The module.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    with telling_missing(task):
        from PIL import Image
    return Image


def read_content(path: PathLike) -> bytes:
    """Read the bytes of a picture's file.

    Args:
        path: the picture's file, whatever its suffix.

    Raises:
        DatasetError: there is no such file, it cannot be read, or it has more than MOST_BYTES.
    """
    where = Where(file=os.fspath(path))
    if not os.fspath(path):
        raise DatasetError("picture", expected="a file", found="an empty text")
    try:
        _check_file(path, where)
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the name has a NUL character
        raise _unread(error, where) from None


@contextlib.contextmanager
def opened(path: PathLike, content: bytes | None = None) -> "Iterator[Image]":
    """Open a picture's file; the block may then read its pixels.

    Args:
        path: the picture's file, whatever its suffix.
        content: the file's bytes if they were read before; the path then only serves messages.

    Yields:
        The PIL image, whose pixels are decoded at the first access.

    Raises:
        DatasetError: the file cannot be read, is no picture, has too many bytes or pixels, or turns
            out damaged inside the block.
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
    """Open a picture of one of `FORMATS` without Python's warnings about sizes and tags.

    Args:
        source: the path, or the file's bytes.

    Raises:
        UnidentifiedImageError: Pillow knows no such format.
    """
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
    """Return True if a file has a picture's suffix and is not hidden.

    Args:
        path: the file's path; the file itself is not opened.
    """
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _check_file(path: PathLike, where: Where) -> None:
    """Raise DatasetError unless a path is a regular file of at most MOST_BYTES."""
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
    """Return the error for a file that the system or Pillow could not read, with their reason."""
    if isinstance(error, FileNotFoundError):
        return DatasetError("no such file", where=where)
    if isinstance(error, OSError) and error.strerror:
        return DatasetError(f"cannot read: {error.strerror}", where=where)
    return DatasetError(f"cannot be read as a picture: {error}", where=where)


def _no_picture(path: PathLike, content: bytes | None, where: Where) -> DatasetError:
    """Return the error for a file that Pillow does not know, with what the file is if known."""
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
    """Return advice for formats that are not opened, or None."""
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
    """Return the pixels of an open picture, before its EXIF orientation is applied.

    Of 16-bit levels the upper 8 bits count, and transparency is dropped, as stb_image does.

    Args:
        image: an open PIL image.
        where: the picture's place, for warnings and errors.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        DatasetError: the levels are neither of 8 nor of 16 bits.
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
    """Return an image as RGB, without transparency."""
    if image.mode == "CMYK":
        warn_once(where, "CMYK picture, read as RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            warn_once(where, "transparency is dropped, as Darknet does")
    return image if image.mode == "RGB" else image.convert("RGB")


def holds_more(image: "Image") -> bool:
    """Return True if a file holds further pictures: a GIF, a TIFF, a WebP or an animated PNG.

    The further pictures of a JPEG file are previews of the first, and do not count.

    Args:
        image: an open PIL image.

    Returns:
        True also if the file is damaged after its first picture.
    """
    with contextlib.suppress(*BROKEN):
        return image.format not in ("JPEG", "MPO") and bool(getattr(image, "is_animated", False))
    return True


def is_deep(image: "Image") -> bool:
    """Return True if a picture has 16 bits per level.

    Args:
        image: an open PIL image whose pixels were not read yet.
    """
    tiles = getattr(image, "tile", ())
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in tiles)


def _upper_bits(image: "Image", where: Where) -> Levels:
    levels: npt.NDArray[np.integer[Any] | np.floating[Any]] = np.asarray(image)
    if image.mode == "F" or levels.min() < 0 or levels.max() > 0xFFFF:
        found = f"{levels.min():g} to {levels.max():g}"
        raise DatasetError(where=where, expected="levels of 8 or 16 bits", found=found)
    return (levels.astype(np.int32) >> 8).astype(np.uint8)


def orientation(image: "Image", where: Where) -> int:
    """Return the EXIF orientation of a picture, 1 to 8, where 1 is upright.

    Broken EXIF data are warned about, and give 1.

    Args:
        image: an open PIL image.
        where: the picture's place, for the warning.

    Raises:
        OSError: the file is cut short, in a format that keeps these data at the end.
    """
    value: object = None
    try:
        with _OPENING, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = image.getexif().get(ORIENTATION)
        is_broken = any("EXIF" in str(warning.message) for warning in caught)
    except OSError:  # some formats keep EXIF data at the end, which is missing
        raise
    except BROKEN:
        is_broken = True
    if is_broken and value is None:
        warn_once(where, "its EXIF data are broken and ignored")
    return value if isinstance(value, int) and value in range(1, 9) else 1


def upright(levels: Levels, lying: int) -> Levels:
    """Return a picture turned and mirrored until it is upright.

    Args:
        levels: uint8 (H, W, C).
        lying: the EXIF orientation, 1 to 8.

    Returns:
        uint8 (H, W, C), or (W, H, C) where the picture was turned by a quarter.
    """
    if lying == 1:
        return levels
    if lying in (5, 6, 7, 8):
        levels = levels.swapaxes(0, 1)
    down = -1 if lying in (3, 4, 7, 8) else 1
    across = -1 if lying in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(levels[::down, ::across])
