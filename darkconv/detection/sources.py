"""Sources of pictures: every form of one picture and of many."""

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, SupportsIndex

from darkconv.detection.video import Video, is_video
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.pictures.image_file import is_picture
from darkconv.pictures.picture import PICTURE

DATA_SETS = (".yaml", ".yml", ".data", ".txt", ".list", ".xml", ".json")
"""The suffixes of lists of pictures and of descriptions of data sets."""


@dataclass(frozen=True, eq=False)
class SourcePicture:
    """A picture in which objects are to be found.

    Attributes:
        picture: the picture in a form that `as_picture` takes.
        source: the file's name, or the picture's name in messages.
        index: the index in the source, from 0.
        time: in a video, the seconds from its beginning; None for pictures.
    """

    picture: Any
    source: str
    index: int
    time: float | None = None


@dataclass(frozen=True, eq=False)
class PictureSource:
    """A sequence of pictures.

    Attributes:
        items: the pictures.
        count: the number of pictures; None if it is unknown beforehand.
        videos: the open videos that the pictures come from.
    """

    items: Iterable[SourcePicture]
    count: int | None
    videos: tuple[Video, ...] = ()

    @property
    def is_live(self) -> bool:
        """Return True if frames are dropped that are not taken in time."""
        return any(video.is_live for video in self.videos)

    def __iter__(self) -> Iterator[SourcePicture]:
        """Iterate over the pictures."""
        return iter(self.items)


def open_source(source: Any, *, every: int = 1, unreadable: str = "raise") -> PictureSource:
    """Return the pictures of a source.

    Args:
        source: a picture in any form: a path, the bytes of an image file, a file that is open for
            reading them, a PIL image, levels; a folder, whose pictures are taken in the order of
            their names; a pattern such as "photos/*.jpg"; a list of pictures or a description of a
            data set that `darkconv.open_dataset` reads; a Dataset; a video file; the number of a
            camera; an address such as "rtsp://..."; or a list of such.
        every: take the first picture, and then every `every`-th.
        unreadable: "skip" continues after parts of a video that cannot be decoded; "raise" raises
            an error for them.

    Raises:
        DatasetError: there are no pictures, or a video cannot be opened.
        MissingDependencyError: videos need PyAV.
    """
    if is_video(source):
        return video_source(source, every=every, skips=unreadable == "skip")
    if is_several(source):
        some = list(source)
        if any(map(is_video, some)):
            parts = [open_source(one, every=every, unreadable=unreadable) for one in some]
            counts = [part.count for part in parts]
            count = None if None in counts else sum(filter(None, counts))
            videos = tuple(video for part in parts for video in part.videos)
            return PictureSource(chain.from_iterable(parts), count, videos)
        source = some
    pictures = list_pictures(source)
    items = [
        SourcePicture(picture, picture_name(picture), index)
        for index, picture in enumerate(pictures)
        if index % every == 0
    ]
    if not items:
        raise DatasetError("there is no picture in the source", found=picture_name(source))
    return PictureSource(items, len(items))


def video_source(
    source: str | os.PathLike[str] | SupportsIndex, *, every: int, skips: bool
) -> PictureSource:
    """Return the frames of a video, a camera or an address.

    Args:
        source: the file, the number of a camera from 0, or the address.
        every: take the first frame, and then every `every`-th.
        skips: continue after parts that cannot be decoded.

    Raises:
        DatasetError: the video cannot be opened.
        MissingDependencyError: PyAV is not installed.
    """
    video = Video(source)
    items = (
        SourcePicture(levels, video.name, number, time)
        for number, time, levels in video.frames(every=every, skips=skips)
    )
    count = None if video.count is None else -(-video.count // every)
    return PictureSource(items, count, (video,))


def list_pictures(source: Any) -> list[Any]:
    """Return the pictures of a source, each in a form that `as_picture` takes.

    Args:
        source: the source: see `open_source`; videos are not among them.

    Raises:
        DatasetError: a folder, a pattern or a list has no pictures.
    """
    if isinstance(source, str | os.PathLike):
        return pictures_of_path(os.fspath(source))
    samples = getattr(source, "samples", None)
    if samples is not None:
        return [sample.image for sample in samples]
    if is_several(source):
        return [one for part in source for one in list_pictures(part)]
    return [source]


def is_several(source: Any) -> bool:
    """Return True if a source is a list or an iterable of sources rather than one picture.

    Args:
        source: the source: see `open_source`.
    """
    if isinstance(source, Mapping):
        return False
    if isinstance(source, Sequence):
        return not isinstance(source, str | bytes | bytearray | memoryview)
    is_picture = hasattr(source, "read") or hasattr(source, "__array__") or _is_bytes(source)
    return isinstance(source, Iterable) and not is_picture


def _is_bytes(source: Any) -> bool:
    return isinstance(source, memoryview) or hasattr(source, "getexif")


def pictures_of_path(path: str) -> list[Path]:
    """Return the pictures that a text names: a file, a folder, a pattern, a list or a data set.

    Args:
        path: the text; a path that does not exist is returned as it is.

    Raises:
        DatasetError: the text is empty, or a folder, a pattern or a list has no pictures.
    """
    if not path:
        raise DatasetError(
            "picture", expected="a file, a folder or a pattern", found="an empty text"
        )
    if os.path.isdir(path):
        inside = sorted(filter(is_picture_file, Path(path).iterdir()))
        if not inside:
            raise DatasetError("holds no pictures", where=Where(file=path))
        return inside
    if os.path.isfile(path):
        is_list = Path(path).suffix.lower() in DATA_SETS
        return pictures_of_data_set(path) if is_list else [Path(path)]
    if glob.has_magic(path):
        files = sorted(filter(is_picture_file, glob.iglob(path, recursive=True)))
        if not files:
            raise DatasetError("no picture matches the pattern", where=Where(file=path))
        return list(map(Path, files))
    return [Path(path)]


def is_picture_file(path: PathLike) -> bool:
    """Return True if a path has a picture's suffix and is not a folder.

    Args:
        path: a path that need not exist.
    """
    return is_picture(path) and not os.path.isdir(path)


def pictures_of_data_set(path: str) -> list[Path]:
    """Return the pictures of a list or of a description of a data set.

    Args:
        path: the file: see `darkconv.open_dataset`.
    """
    from darkconv.dataset.open import open_dataset

    return [sample.image for sample in open_dataset(path).samples]


def picture_name(picture: Any) -> str:
    """Return a picture's name for messages: its path if it has one.

    Args:
        picture: the picture in a form that `as_picture` takes.
    """
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    name = getattr(picture, "filename", None) or getattr(picture, "name", None)
    return name if isinstance(name, str) else PICTURE
