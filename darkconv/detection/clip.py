"""Write video files with PyAV."""

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
"""The suffixes of videos that can be written, and FFmpeg's encoder for each."""
FALLBACK = "mpeg4"
"""The encoder to use if PyAV was built without the suffix's own."""
USUAL_RATE = Fraction(30)
MARK = "drawn by darkconv"
"""The comment in the metadata of every video that is written."""


def is_writable(path: PathLike) -> bool:
    """Return True if `Clip` can write a video of this name.

    Args:
        path: the file; only its suffix counts.
    """
    return Path(path).suffix.lower() in CODECS


def is_clip(path: PathLike) -> bool:
    """Return True if `Clip` has written a file.

    Args:
        path: the file; one that cannot be read as a video gives False.
    """
    try:
        with library("reading videos").open(f"file:{os.fspath(path)}") as container:
            told = {key.lower(): text for key, text in container.metadata.items()}
            return bool(told.get("comment") == MARK)
    except OSError:
        return False


@contextlib.contextmanager
def writing_clip(path: PathLike, *, rate: Fraction | None = None) -> "Iterator[Clip]":
    """Write a video file, which gets its name when it is complete.

    An interruption, by Ctrl-C or by a signal that ends the program, completes the file with the
    frames that were written so far; another error leaves no file.

    Args:
        path: the file to write; its suffix gives the format.
        rate: frames per second; None for 30.

    Yields:
        The clip, to which the block adds frames.

    Raises:
        DarkconvError: the file cannot be written, or the block wrote no frame.
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

    However the writing ends, `close` leaves a file that can be played.

    Attributes:
        count: the number of frames that were written.
    """

    def __init__(self, path: PathLike, *, name: str, rate: Fraction | None = None) -> None:
        """Begin a video file.

        Args:
            path: the file to write.
            name: the final name of the file, whose suffix gives the format.
            rate: frames per second; None for 30.

        Raises:
            DarkconvError: the suffix is none of a video that can be written.
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
            levels: (H, W, 3) uint8 RGB; frames of another size than the first are resized to it.
            time: seconds from the beginning; None for one frame after the last.
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
        """Write the remaining packets and the end of the file."""
        if self._size is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
