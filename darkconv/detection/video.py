"""Read frames of video files, cameras and network addresses with PyAV."""

import contextlib
import logging
import operator
import os
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsIndex

import numpy as np

from darkconv.errors import DatasetError, Where
from darkconv.files import is_utf8
from darkconv.libraries import telling_missing
from darkconv.pictures.picture import Picture

logger = logging.getLogger("darkconv")

SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"),
        *(".m2ts", ".mts", ".3gp", ".ogv", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".h265"),
    )
)
"""The suffixes of video files, in lower case."""
ADDRESS = re.compile(r"(?i)(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://")
STORED = re.compile(r"(?i)https?://")
"""The addresses of which every frame is taken; of others, and of cameras, the newest is taken."""
LOGIN = re.compile(r"//[^/@]*@")
SECONDS = 10.0
"""The seconds that an address has to answer."""
CAMERAS = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("vfwcap", "{}"),
}
"""FFmpeg's format and device name of a camera, by system; the number is filled in."""


def library(task: str) -> ModuleType:
    """Import and return PyAV.

    Args:
        task: the purpose that the error names if PyAV is missing.

    Returns:
        The module.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """
    with telling_missing(task):
        import av
    return av


def is_video(source: Any) -> bool:
    """Return True if a source is the number of a camera, an address, or a video file's name.

    Args:
        source: any source of pictures: see `open_source`.
    """
    if isinstance(source, Integral):
        return not isinstance(source, bool)
    if not isinstance(source, str | os.PathLike):
        return False
    text = os.fspath(source)
    if ADDRESS.match(text):
        return True
    is_number = text.isascii() and text.isdecimal() and not os.path.exists(text)
    return is_number or Path(text).suffix.lower() in SUFFIXES


class Video:
    """An open video, whose frames can be read once.

    Attributes:
        name: the name in messages; of an address, without the login.
        is_live: True if frames are dropped that are not taken in time.
        count: the number of frames; None if unknown.
        rate: frames per second; None if unknown.
        has_sound: True if the video has an audio stream.
    """

    def __init__(self, source: str | os.PathLike[str] | SupportsIndex) -> None:
        """Open a video file, a camera by its number, or an address.

        Raises:
            DatasetError: the video cannot be opened, or has no pictures.
            MissingDependencyError: PyAV is not installed.
        """
        av = library("reading videos")
        if isinstance(source, str | os.PathLike):
            text = os.fspath(source)
        else:
            text = str(operator.index(source))
        is_camera = not isinstance(source, str | os.PathLike) or (
            text.isdecimal() and not os.path.exists(text)
        )
        is_address = ADDRESS.match(text) is not None
        self.name = f"camera {int(text)}" if is_camera else LOGIN.sub("//", text)
        self.is_live = is_camera or (is_address and not STORED.match(text))
        self._where = Where(file=self.name)
        self._av = av
        self._file: Any = None
        with self._told():
            if is_camera:
                kind, place = CAMERAS.get(sys.platform, CAMERAS["linux"])
                self._container = av.open(place.format(int(text)), format=kind)
            elif is_address:
                options = {"rtsp_transport": "tcp"} if text.lower().startswith("rtsp") else {}
                self._container = av.open(text, options=options, timeout=SECONDS)
            else:
                self._container = av.open(self._opened(text))
        if not self._container.streams.video:
            self.close()
            raise DatasetError("has no pictures in it", where=self._where)
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.has_sound = bool(self._container.streams.audio)
        self.count = (self._stream.frames or None) if not self.is_live else None
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.rate = Fraction(rate) if rate else None

    def _opened(self, path: str) -> Any:
        """Return what PyAV is to open, so that a file's name cannot select another protocol."""
        if not os.path.isfile(path):
            raise DatasetError("no such file", where=self._where)
        if os.path.getsize(path) == 0:
            raise DatasetError("is empty", where=self._where)
        if is_utf8(path):
            return f"file:{path}"
        self._file = open(path, "rb")  # noqa: SIM115 - closed with the video
        return self._file

    def frames(
        self, *, every: int = 1, skips: bool = False
    ) -> Iterator[tuple[int, float, Picture]]:
        """Yield index from 0, seconds from the beginning, and upright levels of each frame.

        Args:
            every: take the first frame, and then every `every`-th.
            skips: continue after parts that cannot be decoded, and report their number at the end.

        Raises:
            DatasetError: a frame cannot be decoded, or none can.
        """
        number, start, broken = 0, None, 0
        try:
            for frame in self._decoded(skips=skips):
                if frame is None:
                    broken += 1
                    continue
                time = frame.time
                if time is None:
                    time = float(number / self.rate) if self.rate else float(number)
                start = time if start is None else start
                if number % every == 0:
                    yield number, time - start, levels_of(frame)
                number += 1
        finally:
            self.close()
        if not number:
            raise DatasetError("has no frame that can be decoded", where=self._where)
        if broken:
            logger.warning("%s: %d parts could not be decoded: skipped", self.name, broken)

    def _decoded(self, *, skips: bool) -> Iterator[Any]:
        """Yield the decoded frames, and None for a part that cannot be decoded."""
        packets = self._container.demux(self._stream)
        while True:
            with self._told():
                packet = next(packets, None)
            if packet is None:
                return
            try:
                frames = packet.decode()
            except self._av.error.FFmpegError as error:
                if not skips:
                    raise self._told_error(error) from error
                yield None
                continue
            yield from frames

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn PyAV's exceptions in this block into an error that names the video."""
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise self._told_error(error) from error
        except OSError as error:
            raise DatasetError(f"cannot be read: {error.strerror}", where=self._where) from error

    def _told_error(self, error: Any) -> DatasetError:
        words = error.strerror or type(error).__name__
        return DatasetError(f"cannot be read as a video: {words}", where=self._where)

    def close(self) -> None:
        """Close the file, the camera or the connection."""
        self._container.close()
        if self._file is not None:
            self._file.close()


def levels_of(frame: Any) -> Picture:
    """Return the levels of a frame, uint8 (H, W, 3) RGB, turned as the video's metadata say.

    Args:
        frame: a frame of PyAV.
    """
    levels: Picture = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(levels, turns)) if turns else levels
