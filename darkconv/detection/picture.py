"""Pictures: reading them, and fitting them to a network's input as Darknet does."""

import io
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.detection import jpeg
from darkconv.errors import DarkconvError, DatasetError, MissingDependencyError, Where
from darkconv.files import PathLike

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger("darkconv")

Picture = npt.NDArray[np.uint8]
"""(height, width, channels), RGB or grey, 0..255."""

RESIZE_MODES = ("stretch", "letterbox")
BORDER = 0.5  # grey of the letterbox
ORIENTATION = 274  # EXIF's tag
_LEVELS = (np.arange(256, dtype=np.float32) / np.float32(255)).astype(np.float32)


def read_picture(path: PathLike, *, channels: int = 3, exact: bool = True) -> Picture:
    """Read an image file as (H, W, channels), turned upright if its EXIF data say so.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for grey.
        exact: JPEG files with the levels that Darknet's decoder makes of them; otherwise with
            those of Pillow, up to 3 of 255 away, in a tenth of the time.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        DarkconvError: another number of channels.
        MissingDependencyError: Pillow is not installed.
    """
    image_module = pillow("reading pictures")
    where = Where(file=os.fspath(path))
    try:
        content = Path(path).read_bytes()
        with image_module.open(io.BytesIO(content)) as image:
            levels = None
            if exact and channels in (1, 3) and image.format in jpeg.FORMATS:
                levels = jpeg.decode(content, channels=channels)
            if levels is not None:
                return _upright_levels(levels, image, where)
            picture = np.array(_upright_rgb(image, where), dtype=np.uint8)
    except FileNotFoundError:
        raise DatasetError("no such file", where=where) from None
    except image_module.UnidentifiedImageError:
        raise DatasetError("is not a picture in a known format", where=where) from None
    except (OSError, SyntaxError, ValueError, image_module.DecompressionBombError) as error:
        raise DatasetError(f"cannot be read as a picture: {error}", where=where) from error
    return with_channels(picture, channels)


def with_channels(picture: Picture, channels: int) -> Picture:
    """An RGB picture as a network of that many channels takes it; grey as stb_image makes it."""
    if channels == 3:
        return picture
    if channels == 1:
        weighted = picture @ np.array([77, 150, 29], np.uint32)
        return (weighted >> 8).astype(np.uint8)[:, :, None]
    raise DarkconvError("pictures", expected="a network of 1 or 3 channels", found=channels)


def _upright_levels(levels: Picture, image: "Image", where: Where) -> Picture:
    """Levels turned as their file's EXIF data say."""
    from PIL import Image, ImageOps

    orientation = image.getexif().get(ORIENTATION)
    if orientation not in range(2, 9):
        return levels
    logger.warning("%s: turned upright as its EXIF data say", where)
    lying = Image.fromarray(levels.squeeze(axis=2) if levels.shape[2] == 1 else levels)
    lying.getexif()[ORIENTATION] = orientation
    return np.atleast_3d(np.array(ImageOps.exif_transpose(lying), dtype=np.uint8))


def _upright_rgb(image: "Image", where: Where) -> "Image":
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or upright.getexif() != image.getexif():
        logger.warning("%s: turned upright as its EXIF data say", where)
    if upright.mode.startswith("I"):
        logger.warning("%s: 16-bit picture, read as 8-bit", where)
        upright = upright.point(lambda level: level / 256).convert("L")
    return upright.convert("RGB")


def pillow(task: str) -> ModuleType:
    """The module PIL.Image.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingDependencyError("PIL", extra="images", task=task) from None
    return Image


@dataclass(frozen=True)
class Fit:
    """How a picture of one size fills a network input of another.

    Attributes:
        picture: (width, height) of the picture.
        network: (width, height) of the network input.
        letterbox: keep proportions and leave a border, rather than stretch.
    """

    picture: tuple[int, int]
    network: tuple[int, int]
    letterbox: bool

    @property
    def inner(self) -> tuple[int, int]:
        """(width, height) that the picture takes, by C's integer division."""
        (width, height), (net_width, net_height) = self.picture, self.network
        if not self.letterbox:
            return self.network
        if net_width / width < net_height / height:
            return net_width, max(1, height * net_width // width)
        return max(1, width * net_height // height), net_height

    def apply(self, picture: Picture | Array) -> Array:
        """The network input: float32 (C, H, W) in 0..1."""
        width, height = self.inner
        resized = resize(picture, width, height)
        if (width, height) == self.network:
            return resized
        net_width, net_height = self.network
        canvas = np.full((len(resized), net_height, net_width), BORDER, np.float32)
        top, left = (net_height - height) // 2, (net_width - width) // 2
        canvas[:, top : top + height, left : left + width] = resized
        return canvas

    def to_picture(self, boxes: Array) -> Array:
        """Boxes relative to the network input -> relative to the picture, xywh both.

        The offset is the exact half of the border, as in C, though the picture is pasted at
        the whole pixel below it.
        """
        if not self.letterbox:
            return boxes
        inner = np.array(self.inner, np.float32)
        network = np.array(self.network, np.float32)
        share, offset = inner / network, (network - inner) / 2 / network
        return np.hstack([(boxes[:, :2] - offset) / share, boxes[:, 2:] / share])

    def to_pixels(self, boxes: Array) -> Array:
        """Boxes relative to the network input -> in pixels of the picture, xywh both."""
        return self.to_picture(boxes) * np.array(self.picture * 2, np.float32)


def resize(picture: Picture | Array, width: int, height: int) -> Array:
    """Darknet's bilinear resize: corners aligned, horizontally first, then vertically.

    The last column copies the picture's last one. The last row is not: it lacks what the
    row below its place adds, and where rounding puts its place just above the picture's last row
    (480 rows to 240, as an example), it is nearly black.

    Args:
        picture: (H, W, C), grey levels of 8 bit or float32 in 0..1.
        width: of the result.
        height: of the result.

    Returns: float32 (C, height, width) in 0..1, not rounded to grey levels.
    """
    across = _interpolate(picture, width, axis=1)
    return np.ascontiguousarray(_interpolate(across, height, axis=0).transpose(2, 0, 1))


def _interpolate(picture: npt.NDArray[np.generic], length: int, *, axis: int) -> Array:
    """Linear interpolation along one axis, with C's ways at the last place."""
    size = picture.shape[axis]
    if size == length:
        return _levels(picture)
    step = np.float32(size - 1) / np.float32(length - 1) if length > 1 else np.float32(0)
    place = np.arange(length, dtype=np.float32) * step
    low = np.minimum(place.astype(np.intp), size - 1)
    shape = [1, 1, 1]
    shape[axis] = length
    fraction = (place - low.astype(np.float32)).reshape(shape)
    if axis == 1:
        fraction[:, -1] = 0
        low[-1] = size - 1
    high = np.minimum(low + 1, size - 1)
    before, after = (_levels(picture.take(index, axis)) for index in (low, high))
    values = (1 - fraction) * before
    if axis == 0:
        fraction[-1] = 0
    values += fraction * after
    return values


def _levels(values: npt.NDArray[np.generic]) -> Array:
    """8-bit grey levels as float32 in 0..1; floats as they are."""
    return _LEVELS[values] if values.dtype == np.uint8 else values.astype(np.float32, copy=False)


def resize_mode(name: str | None, *, default: bool) -> bool:
    """Whether a mode's name means letterbox; None takes the default.

    Raises:
        DarkconvError: an unknown name.
    """
    if name is None:
        return default
    if name not in RESIZE_MODES:
        raise DarkconvError("resize", expected=" or ".join(RESIZE_MODES), found=name)
    return name == "letterbox"
