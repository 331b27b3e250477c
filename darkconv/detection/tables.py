"""Detections as lines of text, as cells of tables, and for notebooks."""

from darkconv.core.views import View
from darkconv.detection.draw import draw
from darkconv.detection.found import Detections
from darkconv.detection.stream import Frame
from darkconv.pictures.picture import with_channels
from darkconv.presentation.markup import escape
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import counted, per_cent
from darkconv.report.gallery import WIDTH, embedded

OF_BOXES = ("class", "score", "x0", "y0", "x1", "y1")
SHOWN = 5  # the most entries in a line of text


def box_rows(found: Detections) -> list[tuple[str, ...]]:
    """Return the cells of a table under `OF_BOXES`, with corners in pixels of the picture.

    Args:
        found: the detections in a picture.
    """
    return [(d.name, f"{per_cent(d.score)}%", *(f"{v:.0f}" for v in d.box)) for d in found]


def frame_line(frame: Frame) -> str:
    """Return a line of text with the detections in a frame of a video, its index and its time.

    Args:
        frame: the frame, which has a time.
    """
    words = ", ".join(f"{one.name} {per_cent(one.score)}%" for one in frame.found)
    return f"frame {frame.index}, {frame.time:.2f} s: {words or 'none'}"


def found_as_text(found: Detections) -> str:
    """Return a line of text with the best detections.

    Args:
        found: the detections in a picture.
    """
    best = ", ".join(f"{one.name} {one.score:.2f}" for one in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"<Detections: {best or 'none'}{more}>"


def found_as_html(found: Detections) -> str:
    """Return an HTML table with a row for each detection.

    Args:
        found: the detections in a picture.
    """
    caption = [counted(len(found), "box", "boxes")]
    if found.hidden:
        caption.append(f"{counted(found.hidden, 'box', 'boxes')} of hidden classes left out")
    return html_table(OF_BOXES, box_rows(found), (0,), caption=caption)


def frame_as_text(frame: Frame) -> str:
    """Return a line of text with index, source and number of detections.

    Args:
        frame: a picture of a source with its detections.
    """
    return f"<Frame {frame.index} of {frame.source}: {len(frame.found)} found>"


def frame_as_html(frame: Frame) -> str:
    """Return HTML with the picture, its boxes drawn into it, and the table of detections.

    Args:
        frame: a picture of a source with its detections.
    """
    drawn = draw(with_channels(frame.picture, 3), frame.found.entries)
    time = "" if frame.time is None else f", {frame.time:.2f} s"
    title = escape(f"{frame.source}, {frame.index}{time}")
    return f'<p>{title}</p><img src="{embedded(drawn, WIDTH)}">{found_as_html(frame.found)}'


FOUND_VIEW = View(found_as_text, found_as_html)
FRAME_VIEW = View(frame_as_text, frame_as_html)
