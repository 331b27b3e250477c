"""Where pictures come from: every form of one picture and of many."""

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
"""Ends of file names that are lists of pictures, or descriptions of data sets."""


@dataclass(frozen=True, eq=False)
class Item:
    """A picture that is to be looked at.

    Attributes:
        picture: in a form that `as_picture` takes.
        source: the file's name, or what messages call the picture.
        index: its place in the source, from 0.
        time: in a video, in seconds from its beginning.
    """

    picture: Any
    source: str
    index: int
    time: float | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """Pictures, one after the other.

    Attributes:
        items: the pictures.
        count: how many they are; None where that is not known beforehand.
        videos: those whose frames they are.
    """

    items: Iterable[Item]
    count: int | None
    videos: tuple[Video, ...] = ()

    @property
    def is_live(self) -> bool:
        """Return True if frames that nobody takes in time are lost."""
        return any(video.is_live for video in self.videos)

    def __iter__(self) -> Iterator[Item]:
        """Go through the pictures."""
        return iter(self.items)


def open_source(source: Any, *, every: int = 1, unreadable: str = "raise") -> Source:
    """Return the pictures of a source.

    Args:
        source: a picture in any form: a path, the bytes of an image file, a file that is open for
            reading them, a PIL image, levels; a folder, whose pictures are taken in the order of
            their names; a pattern such as "photos/*.jpg"; a list of pictures or a description of a
            data set that `darkconv.open_dataset` reads; a Dataset; a video file; the number of a
            camera; an address such as "rtsp://..."; or a list of such.
        every: take the first one, and then each that is so many further on.
        unreadable: "skip" goes on behind parts of a video that cannot be decoded.

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
            return Source(chain.from_iterable(parts), count, videos)
        source = some
    pictures = list_pictures(source)
    items = [
        Item(picture, picture_name(picture), index)
        for index, picture in enumerate(pictures)
        if index % every == 0
    ]
    if not items:
        raise DatasetError("there is no picture in the source", found=picture_name(source))
    return Source(items, len(items))


def video_source(
    source: str | os.PathLike[str] | SupportsIndex, *, every: int, skips: bool
) -> Source:
    """Return the frames of a video, a camera or an address.

    Raises:
        DatasetError: it cannot be opened.
        MissingDependencyError: PyAV is not installed.
    """
    video = Video(source)
    items = (
        Item(levels, video.name, number, time)
        for number, time, levels in video.frames(every=every, skips=skips)
    )
    count = None if video.count is None else -(-video.count // every)
    return Source(items, count, (video,))


def list_pictures(source: Any) -> list[Any]:
    """Return the pictures of a source, each in a form that `as_picture` takes: see `open_source`.

    Raises:
        DatasetError: a folder, a pattern or a list has none.
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
    """Whether a source is a list of others, not one picture."""
    if isinstance(source, Mapping):
        return False
    if isinstance(source, Sequence):
        return not isinstance(source, str | bytes | bytearray | memoryview)
    is_picture = hasattr(source, "read") or hasattr(source, "__array__") or _is_bytes(source)
    return isinstance(source, Iterable) and not is_picture


def _is_bytes(source: Any) -> bool:
    return isinstance(source, memoryview) or hasattr(source, "getexif")


def pictures_of_path(path: str) -> list[Path]:
    """Return the pictures that a text names: a file, a folder, a pattern or a list.

    Raises:
        DatasetError: a folder, a pattern or a list has none.
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
    """Return True for what has a picture's name and is no folder."""
    return is_picture(path) and not os.path.isdir(path)


def pictures_of_data_set(path: str) -> list[Path]:
    """Return the pictures of a list, or of a description of a data set."""
    from darkconv.dataset.open import open_dataset

    return [sample.image for sample in open_dataset(path).samples]


def picture_name(picture: Any) -> str:
    """Return what messages call a picture."""
    if isinstance(picture, str | os.PathLike):
        return os.fspath(picture)
    name = getattr(picture, "filename", None) or getattr(picture, "name", None)
    return name if isinstance(name, str) else PICTURE
