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
"""uint8 levels (height, width, channels), 0 to 255: 3 channels for RGB, 1 for grey."""
PictureLike = PathLike | bytes | IO[bytes] | npt.NDArray[np.uint8]
"""A picture in a form that `as_picture` takes; a PIL image is another."""

ORDERS = ("rgb", "bgr")
"""The orders in which the channels of an array may come."""
PICTURE = "picture"
"""The name in messages of a picture that has no file."""
BORDER = 0.5  # the grey level of the letterbox's border


def read_picture(path: PathLike, *, channels: int = 3, exact: bool = False) -> Picture:
    """Read an image file, turned upright if its EXIF data say so.

    Args:
        path: the picture's file, whatever its suffix.
        channels: 3 for RGB, 1 for grey.
        exact: give JPEG files the levels of stb_image, with which a Darknet without OpenCV reads
            them, rather than those of libjpeg, with which OpenCV reads them. The two differ by up
            to 3 levels of 255, and exact levels take ten times as long. At JPEG quality 97 and
            above at most 0.5 % of the exact levels are off, by at most 2.

    Returns:
        uint8 (H, W, channels), RGB or grey.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        DarkconvError: the number of channels is neither 1 nor 3.
        MissingDependencyError: Pillow is not installed.
    """
    return decode_picture(read_content(path), os.fspath(path), channels=channels, exact=exact)


def decode_picture(content: bytes, name: str, *, channels: int = 3, exact: bool = False) -> Picture:
    """Decode the bytes of an image file as `read_picture` does.

    Args:
        content: the bytes of the file.
        name: the picture's name in messages.
        channels: 3 for RGB, 1 for grey.
        exact: give JPEG files the levels of stb_image: see `read_picture`.

    Returns:
        uint8 (H, W, channels), RGB or grey.

    Raises:
        DatasetError: the bytes are no picture, or a damaged one.
        DarkconvError: the number of channels is neither 1 nor 3.
        MissingDependencyError: Pillow is not installed.
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
    """Return the levels turned upright, and warn once if that changes them."""
    lying = orientation(image, where)
    if lying != 1:
        warn_once(where, "turned upright as its EXIF data say")
    return upright(levels, lying)


def as_picture(image: Any, channels: int, *, exact: bool = False, order: str = "rgb") -> Picture:
    """Return the levels of a picture in any form, with the channels that a network takes.

    Args:
        image: a path, the bytes of an image file or a file that is open for reading them, a PIL
            image, or uint8 levels: RGB (H, W, 3), or grey (H, W) or (H, W, 1).
        channels: 3 for RGB, 1 for grey.
        exact: give JPEG files the levels of stb_image: see `read_picture`.
        order: the order of the channels of an array: "rgb", or "bgr" as OpenCV has them. Files and
            PIL images have their own.

    Returns:
        uint8 (H, W, channels), RGB or grey.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        DarkconvError: the picture has another form, or the order is unknown.
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
    """Return the rest of an open file's bytes, from its current position.

    Raises:
        DatasetError: the file was read to its end before.
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
    """Raise DarkconvError unless a text is an order of channels.

    Args:
        order: the order of the channels of an array, "rgb" or "bgr".

    Raises:
        DarkconvError: the order is another one.
    """
    if order not in ORDERS:
        raise DarkconvError("order", expected=" or ".join(ORDERS), found=order)


def _checked_levels(image: Any, channels: int) -> Picture:
    """Return levels (H, W, 3), or (H, W, 1) for grey levels and a network of one channel."""
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
    """Return a picture with the number of channels that a network takes.

    The grey of an RGB picture is stb_image's: (77 R + 150 G + 29 B) >> 8.

    Args:
        picture: uint8 (H, W, C).
        channels: 3 for RGB, 1 for grey.

    Returns:
        uint8 (H, W, channels).

    Raises:
        DarkconvError: RGB is wanted of a grey picture, or another number of channels of any.
    """
    if picture.shape[2] == channels:
        return picture
    if channels == 1:
        weighted = picture @ np.array([77, 150, 29], np.uint32)
        return (weighted >> 8).astype(np.uint8)[:, :, None]
    raise DarkconvError("pictures", expected="a network of 1 or 3 channels", found=channels)


@dataclass(frozen=True)
class PictureFit:
    """The geometry of fitting a picture of one size to a network input of another.

    Attributes:
        picture: (width, height) of the picture.
        network: (width, height) of the network input.
        letterbox: keep the proportions and leave a border, rather than stretch.
    """

    picture: tuple[int, int]
    network: tuple[int, int]
    letterbox: bool

    @property
    def inner(self) -> tuple[int, int]:
        """Return the (width, height) that the picture takes, by C's integer division."""
        (width, height), (net_width, net_height) = self.picture, self.network
        if not self.letterbox:
            return self.network
        if net_width / width < net_height / height:
            return net_width, max(1, height * net_width // width)
        return max(1, width * net_height // height), net_height

    def apply(self, picture: Picture | Array) -> Array:
        """Return the network input for a picture.

        Args:
            picture: (H, W, C) of the size `picture`, uint8 levels or float32 in 0..1.

        Returns:
            float32 (C, H, W) in 0..1, of the size `network`.
        """
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
        """Convert boxes from fractions of the network input to fractions of the picture.

        The offset is the exact half of the border, as in C, though the picture is pasted at the
        whole pixel below it.

        Args:
            boxes: (n, 4) xywh, relative to the network input.

        Returns:
            (n, 4) xywh, relative to the picture.
        """
        if not self.letterbox:
            return boxes
        inner = np.array(self.inner, np.float32)
        network = np.array(self.network, np.float32)
        share, offset = inner / network, (network - inner) / 2 / network
        return np.hstack([(boxes[:, :2] - offset) / share, boxes[:, 2:] / share])

    def to_pixels(self, boxes: Array) -> Array:
        """Convert boxes from fractions of the network input to pixels of the picture.

        Args:
            boxes: (n, 4) xywh, relative to the network input.

        Returns:
            (n, 4) xywh, in pixels of the picture.
        """
        return self.to_picture(boxes) * np.array(self.picture * 2, np.float32)


def resize(picture: Picture | Array, width: int, height: int) -> Array:
    """Return a picture in another size by Darknet's bilinear resize.

    The corners are aligned, and the width is changed before the height. The last column copies the
    picture's last one. The last row is not a copy: it lacks the share of the row below its place,
    and where rounding puts this place just above the picture's last row (480 rows to 240, for
    example), it is nearly black.

    Args:
        picture: (H, W, C), uint8 levels or float32 in 0..1.
        width: the width of the result, in pixels.
        height: the height of the result, in pixels.

    Returns:
        float32 (C, height, width) in 0..1, not rounded to 8-bit levels.
    """
    rows = _Places(len(picture), height)
    columns = _Places(picture.shape[1], width)
    used = np.union1d(rows.low, rows.high)
    if len(used) < len(picture):
        picture, rows = picture[used], rows.among(used)
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return _interpolate_rows(_interpolate_columns(planes, columns), rows)


class _Places:
    """The places of `length` values between `size` values along an axis.

    Attributes:
        low: index of the value at the place or below it.
        high: index of the value above the place, or of the last value.
        fraction: the distance from `low`, as a fraction of a step.
    """

    def __init__(self, size: int, length: int) -> None:
        step = np.float32(size - 1) / np.float32(length - 1) if length > 1 else np.float32(0)
        place = np.arange(length, dtype=np.float32) * step
        self.is_same = size == length
        self.low = np.minimum(place.astype(np.intp), size - 1)
        self.high = np.minimum(self.low + 1, size - 1)
        self.fraction = place - self.low.astype(np.float32)

    def among(self, used: npt.NDArray[np.intp]) -> "_Places":
        """Return the same places for an axis on which only the used values are left."""
        places = copy.copy(self)
        places.low, places.high = np.searchsorted(used, (self.low, self.high))
        return places


def _interpolate_columns(planes: npt.NDArray[Any], places: _Places) -> Array:
    """Interpolate linearly along the last axis, with levels in 0..1; the last column is copied."""
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
    """Interpolate linearly along the rows; as in C, the last row lacks the row below it."""
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
    """Return 8-bit levels as float32 in 0..1; floats stay as they are."""
    if values.dtype == np.uint8:
        return np.divide(values, np.float32(255), dtype=np.float32)
    return values.astype(np.float32, copy=False)


def resize_mode(name: str | None, *, default: bool) -> bool:
    """Return True if a resize mode's name means letterbox.

    Args:
        name: "letterbox" or "stretch", or None for the default.
        default: the result where the name is None.

    Raises:
        DarkconvError: the name is unknown.
    """
    if name is None:
        return default
    check_resize(name)
    return name == "letterbox"
