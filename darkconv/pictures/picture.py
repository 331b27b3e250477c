"""Pictures: reading them, and fitting them to a network's input as Darknet does."""

import copy
import os
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.net import check_resize
from darkconv.errors import DarkconvError, DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.notice import warn_once
from darkconv.pictures import jpeg
from darkconv.pictures.image_file import opened, orientation, read_content, rgb_levels, upright

Picture = npt.NDArray[np.uint8]
"""(height, width, channels), RGB or grey, 0..255."""
PictureLike = PathLike | bytes | IO[bytes] | npt.NDArray[np.uint8]
"""A picture in a form that `as_picture` takes; a PIL image is another."""

ORDERS = ("rgb", "bgr")
"""In which the channels of an array may come."""
PICTURE = "picture"
"""What a picture without a file is called in messages."""
BORDER = 0.5  # grey of the letterbox


def read_picture(path: PathLike, *, channels: int = 3, exact: bool = False) -> Picture:
    """Read an image file as (H, W, channels), turned upright if its EXIF data say so.

    Args:
        path: the file.
        channels: 3 for RGB, 1 for grey.
        exact: JPEG files with the levels of stb_image, by which a Darknet without OpenCV reads
            them, rather than of libjpeg, by which OpenCV reads them: up to 3 levels of 255 lie
            between the two, and exact ones take ten times as long. At JPEG quality 97 and above
            at most 0.5 % of them are off, by at most 2.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        DarkconvError: another number of channels.
        MissingDependencyError: Pillow is not installed.
    """
    return decode_picture(read_content(path), os.fspath(path), channels=channels, exact=exact)


def decode_picture(content: bytes, name: str, *, channels: int = 3, exact: bool = False) -> Picture:
    """Decode the bytes of an image file: see `read_picture`.

    Args:
        content: of the file.
        name: for messages.
        channels: see `read_picture`.
        exact: see `read_picture`.
    """
    where = Where(file=name)
    with opened(name, content) as image:
        levels = None
        if exact and channels in (1, 3) and image.format in jpeg.FORMATS:
            levels = jpeg.decode(image, content, channels=channels)
        if levels is None:
            levels = with_channels(rgb_levels(image, where), channels)
        return _turned(levels, image, where)


def _turned(levels: Picture, image: Any, where: Where) -> Picture:
    """Levels turned upright, which is said once."""
    lying = orientation(image, where)
    if lying != 1:
        warn_once(where, "turned upright as its EXIF data say")
    return upright(levels, lying)


def as_picture(image: Any, channels: int, *, exact: bool = False, order: str = "rgb") -> Picture:
    """Return the levels of a picture in any form, for a network of so many channels.

    Args:
        image: a path, the bytes of an image file or a file that is open for reading them, a PIL
            image, or 8-bit levels: RGB (H, W, 3), or grey (H, W) or (H, W, 1).
        channels: 3 for RGB, 1 for grey.
        exact: see `read_picture`.
        order: of the channels of levels: "rgb", or "bgr" as OpenCV has them. Files and PIL images
            say it themselves.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        DarkconvError: something else than these.
    """
    check_order(order)
    if isinstance(image, str | os.PathLike):
        return read_picture(image, channels=channels, exact=exact)
    if hasattr(image, "getexif") and hasattr(image, "mode"):
        where = Where(file=getattr(image, "filename", "") or PICTURE)
        return _turned(with_channels(rgb_levels(image, where), channels), image, where)
    if hasattr(image, "read"):
        image = _content_of(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode_picture(bytes(image), PICTURE, channels=channels, exact=exact)
    levels = _checked_levels(image, channels)
    is_turned = order == "bgr" and levels.shape[2] == 3
    return with_channels(levels[:, :, ::-1] if is_turned else levels, channels)


def _content_of(file: Any) -> Any:
    """Return what an open file holds from where it stands.

    Raises:
        DatasetError: it stands behind its end.
    """
    content = file.read()
    if not content and hasattr(file, "tell") and file.tell() > 0:
        name = getattr(file, "name", None)
        raise DatasetError(
            "was read to its end before",
            where=Where(file=name if isinstance(name, str) else PICTURE),
            hint="file.seek(0) begins anew",
        )
    return content


def check_order(order: str) -> None:
    """Raise DarkconvError unless it is an order of channels that arrays come in."""
    if order not in ORDERS:
        raise DarkconvError("order", expected=" or ".join(ORDERS), found=order)


def _checked_levels(image: Any, channels: int) -> Picture:
    """Return levels (H, W, 3), or (H, W, 1) where the network has one channel."""
    expected = "a file, or 8-bit levels of shape (H, W, 3) or (H, W), uint8"
    if not isinstance(image, np.ndarray):
        found = "a text" if isinstance(image, str) else type(image).__name__
        raise DarkconvError("picture", expected=expected, found=found)
    levels = image[:, :, None] if image.ndim == 2 else image
    is_picture = levels.ndim == 3 and levels.shape[2] in (1, 3) and levels.size > 0
    if levels.dtype != np.uint8 or not is_picture:
        hint = "levels from 0 to 1 become (255 * x).round().astype('uint8')"
        raise DarkconvError(
            "picture",
            expected=expected,
            found=f"an array {image.dtype} {image.shape}",
            hint=hint if is_picture and image.dtype.kind == "f" else None,
        )
    if levels.shape[2] == 1 and channels == 3:
        return np.repeat(levels, 3, axis=2)
    return levels


def with_channels(picture: Picture, channels: int) -> Picture:
    """An RGB picture as a network of that many channels takes it; grey as stb_image makes it."""
    if picture.shape[2] == channels:
        return picture
    if channels == 1:
        weighted = picture @ np.array([77, 150, 29], np.uint32)
        return (weighted >> 8).astype(np.uint8)[:, :, None]
    raise DarkconvError("pictures", expected="a network of 1 or 3 channels", found=channels)


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
    rows = _Places(len(picture), height)
    columns = _Places(picture.shape[1], width)
    used = np.union1d(rows.low, rows.high)
    if len(used) < len(picture):
        picture, rows = picture[used], rows.among(used)
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return _interpolate_rows(_interpolate_columns(planes, columns), rows)


class _Places:
    """Where each of `length` values lies among `size`.

    Attributes:
        low: index of the value below it, or at it.
        high: of the value above it, or the last.
        fraction: how far it is from `low`, as a share of a step.
    """

    def __init__(self, size: int, length: int) -> None:
        step = np.float32(size - 1) / np.float32(length - 1) if length > 1 else np.float32(0)
        place = np.arange(length, dtype=np.float32) * step
        self.is_same = size == length
        self.low = np.minimum(place.astype(np.intp), size - 1)
        self.high = np.minimum(self.low + 1, size - 1)
        self.fraction = place - self.low.astype(np.float32)

    def among(self, used: npt.NDArray[np.intp]) -> "_Places":
        """The same places, if only those values are left."""
        places = copy.copy(self)
        places.low, places.high = np.searchsorted(used, (self.low, self.high))
        return places


def _interpolate_columns(planes: npt.NDArray[Any], places: _Places) -> Array:
    """Linear interpolation along the last axis, of levels in 0..1; the last one is copied."""
    if places.is_same:
        return _levels(planes)
    low, fraction = places.low.copy(), places.fraction.copy()
    low[-1], fraction[-1] = planes.shape[2] - 1, 0
    values = _levels(planes.take(low, axis=2))
    values *= 1 - fraction
    after = _levels(planes.take(places.high, axis=2))
    after *= fraction
    values += after
    return values


def _interpolate_rows(planes: Array, places: _Places) -> Array:
    """Linear interpolation along the rows; C leaves out what the last one has from below."""
    if places.is_same:
        return planes
    values: Array = planes.take(places.low, axis=1)
    values *= (1 - places.fraction)[:, None]
    fraction = places.fraction.copy()
    fraction[-1] = 0
    below = planes.take(places.high, axis=1)
    below *= fraction[:, None]
    values += below
    return values


def _levels(values: npt.NDArray[Any]) -> Array:
    """8-bit grey levels as float32 in 0..1; floats as they are."""
    if values.dtype == np.uint8:
        return np.divide(values, np.float32(255), dtype=np.float32)
    return values.astype(np.float32, copy=False)


def resize_mode(name: str | None, *, default: bool) -> bool:
    """Whether a mode's name means letterbox; None takes the default.

    Raises:
        DarkconvError: an unknown name.
    """
    if name is None:
        return default
    check_resize(name)
    return name == "letterbox"
