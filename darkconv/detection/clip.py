"""Videos that are written, by PyAV."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from darkconv.detection.video import library
from darkconv.errors import DarkconvError
from darkconv.files import PathLike, replacing
from darkconv.files.signals import undisturbed
from darkconv.pictures.picture import Picture

CODECS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".avi": "mpeg4",
    ".webm": "libvpx-vp9",
}
"""Ends of names of videos that can be written, and what packs their frames."""
FALLBACK = "mpeg4"
"""Where PyAV was built without another."""
USUAL_RATE = Fraction(30)
MARK = "drawn by darkconv"
"""A comment in every video that is written."""


def is_writable(path: PathLike) -> bool:
    """Return True if a file's name is that of a video that `Clip` writes."""
    return Path(path).suffix.lower() in CODECS


def is_clip(path: PathLike) -> bool:
    """Return True if `Clip` has written a file."""
    try:
        with library("reading videos").open(f"file:{os.fspath(path)}") as container:
            told = {key.lower(): text for key, text in container.metadata.items()}
            return bool(told.get("comment") == MARK)
    except OSError:
        return False


@contextlib.contextmanager
def writing_clip(path: PathLike, *, rate: Fraction | None = None) -> "Iterator[Clip]":
    """Write a video file that gets its name when it is whole.

    An interruption, by Ctrl-C or a signal that ends the program, ends the file, which keeps what
    was written; another error leaves no file.

    Args:
        path: of the file.
        rate: frames in a second.

    Raises:
        DarkconvError: it cannot be written, or no frame was.
    """
    ended: BaseException | None = None
    with replacing(path) as temporary:
        clip = Clip(temporary, name=os.fspath(path), rate=rate)
        try:
            yield clip
        except (KeyboardInterrupt, SystemExit) as error:
            ended = error
        finally:
            with undisturbed():
                clip.close()
        if not clip.count:
            raise ended or DarkconvError(f"{os.fspath(path)}: there is no frame to write")
    if ended is not None:
        raise ended


class Clip:
    """A video file that is being written, frame by frame.

    Whatever ends the writing, `close` leaves a file behind that can be played.

    Attributes:
        count: frames that were written.
    """

    def __init__(self, path: PathLike, *, name: str, rate: Fraction | None = None) -> None:
        """Begin a file.

        Args:
            path: of the file.
            name: what it will be called: its suffix says the format.
            rate: frames in a second.

        Raises:
            DarkconvError: the suffix is of no video.
            MissingDependencyError: PyAV is not installed.
        """
        av = library("writing videos")
        suffix = Path(name).suffix.lower()
        if suffix not in CODECS:
            expected = f"a name that ends in {', '.join(CODECS)}"
            raise DarkconvError(f"{name}: cannot write a video", expected=expected)
        codec = CODECS[suffix] if CODECS[suffix] in av.codecs_available else FALLBACK
        kinds = {".mkv": "matroska", ".m4v": "mp4"}
        kind = kinds.get(suffix, suffix[1:])
        self._av = av
        self._container = av.open(f"file:{os.fspath(path)}", "w", format=kind)
        self._container.metadata["comment"] = MARK
        self._stream = self._container.add_stream(codec, rate=rate or USUAL_RATE)
        self._stream.pix_fmt = "yuv420p"
        self._rate = rate or USUAL_RATE
        self._size: tuple[int, int] | None = None
        self._last = -1
        self.count = 0

    def write(self, levels: Picture, time: float | None = None) -> None:
        """Add a frame.

        Args:
            levels: (H, W, 3) RGB; a frame of another size than the first is fitted to that.
            time: in seconds from the beginning; by default one frame behind the last.
        """
        height, width = levels.shape[:2]
        if self._size is None:
            self._size = width + width % 2, height + height % 2
            self._stream.width, self._stream.height = self._size
        if (width, height) != self._size:
            levels = np.pad(levels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(levels), format="rgb24")
        frame = frame.reformat(*self._size, format="yuv420p")
        place = self.count if time is None else round(Fraction(time) * self._rate)
        self._last = max(place, self._last + 1)
        frame.pts, frame.time_base = self._last, 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        if self._size is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
