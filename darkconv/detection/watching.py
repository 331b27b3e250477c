"""Find objects in a video frame by frame, draw them into a clip, and show them in a window."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.detection.clip import Clip, writing_clip
from darkconv.detection.detector import listed
from darkconv.detection.engine import Engine
from darkconv.detection.sources import PictureSource
from darkconv.detection.stream import Frame, stream
from darkconv.detection.video import Video
from darkconv.detection.window import DisplayWindow
from darkconv.files import make_folder
from darkconv.files.signals import end_if_asked

logger = logging.getLogger("darkconv")


@contextlib.contextmanager
def clip_of(video: Video, target: Path | None, *, every: int) -> Iterator[Clip | None]:
    """Open a clip for the drawn frames of a video.

    Args:
        video: the video that is read; it gives the frame rate.
        target: the file to write; None writes nothing.
        every: the clip gets every `every`-th frame.

    Yields:
        The clip, or None.

    Raises:
        DarkconvError: see `writing_clip`.
    """
    if target is None:
        yield None
        return
    make_folder(target.parent)
    if video.has_sound:
        logger.warning("%s: its sound is left out of %s", video.name, target)
    with writing_clip(target, rate=video.rate / every if video.rate else None) as clip:
        yield clip


def watch(
    engine: Engine,
    source: PictureSource,
    *,
    clip: Clip | None = None,
    window: DisplayWindow | None = None,
    font: Path | None = None,
    **how: Any,
) -> Iterator[Frame]:
    """Find objects in each frame of a video, until it ends or its window is closed.

    Args:
        engine: the engine that finds them.
        source: the video, opened by `open_source`.
        clip: the clip that frames with boxes are added to; None for none.
        window: the window that shows the frames; None for none.
        font: the file of the labels' font; None for one that has their letters.
        how: further options of `stream`.

    Yields:
        Each frame with its detections, without those of hidden classes.
    """
    for every in stream(engine, source, **how):
        frame = listed(engine, every)
        if clip or window:
            drawn = frame.found.draw(frame.picture, font=font)
        if clip:
            clip.write(np.asarray(drawn), frame.time)
        yield frame
        end_if_asked()
        if window and not window.show(drawn):
            return
