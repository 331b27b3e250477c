"""What was found, in lines of text, cells of tables and as JSON can hold it."""

from dataclasses import asdict
from typing import Any

from darkconv.detection.found import Detections
from darkconv.detection.stream import Frame
from darkconv.presentation.numerals import per_cent

OF_BOXES = ("class", "score", "x0", "y0", "x1", "y1")


def box_rows(found: Detections) -> list[tuple[str, ...]]:
    """Return the cells under `OF_BOXES`: corners in pixels of the picture."""
    return [(d.name, f"{per_cent(d.score)}%", *(f"{v:.0f}" for v in d.box)) for d in found]


def found_dict(found: Detections) -> dict[str, Any]:
    """Return the boxes, and how many of hidden classes are left out."""
    return {"detections": [asdict(one) for one in found], "hidden": found.hidden}


def frame_dict(frame: Frame, found: Detections) -> dict[str, Any]:
    """Return what was found in a frame of a video, and where in it that is."""
    place = {"source": frame.source, "frame": frame.index, "time": frame.time}
    return {**place, **found_dict(found)}


def frame_line(frame: Frame, found: Detections) -> str:
    """Return the same in words."""
    words = ", ".join(f"{one.name} {per_cent(one.score)}%" for one in found)
    return f"frame {frame.index}, {frame.time:.2f} s: {words or 'none'}"
