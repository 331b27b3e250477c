"""Videos, looked at frame by frame: each drawn into a clip and shown in a window."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.detection.clip import Clip, writing_clip
from darkconv.detection.detector import listed
from darkconv.detection.engine import Engine
from darkconv.detection.sources import Source
from darkconv.detection.stream import Frame, stream
from darkconv.detection.video import Video
from darkconv.detection.window import Window
from darkconv.files import make_folder
from darkconv.files.signals import end_if_asked

logger = logging.getLogger("darkconv")


@contextlib.contextmanager
def clip_of(video: Video, target: Path | None, *, every: int) -> Iterator[Clip | None]:
    """Write what a video shows into a file, of every so many frames; None writes nothing.

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
    source: Source,
    *,
    clip: Clip | None = None,
    window: Window | None = None,
    font: Path | None = None,
    **how: Any,
) -> Iterator[Frame]:
    """Find objects in each frame of a video, until it ends or its window is closed.

    Args:
        engine: what finds them.
        source: the video.
        clip: what frames with boxes are drawn into.
        window: what shows them, when each has been looked at.
        font: file of the labels' font.
        how: as for `stream`.

    Yields:
        Each frame, and what was found in it but for hidden classes.
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
