"""Show pictures in a page, with frames around detections and ground truth."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.pictures.image_file import pillow
from darkconv.pictures.picture import read_picture
from darkconv.presentation.markup import escape

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 480
"""Width of pictures in a page, and the unit of their coordinates."""
LETTER = 7.6  # approximate width of a letter in a label
LABEL = 17  # height of a label
KEY = (
    ("right", "found and right"),
    ("surplus", "found, but wrong"),
    ("missed", "missed"),
    ("true", "where right boxes should be"),
)


@dataclass(frozen=True)
class DrawnBox:
    """A box that is drawn into a picture.

    Attributes:
        kind: "right" or "wrong" for a detection; "missed" for ground truth that was not found,
            "true" for ground truth that was.
        box: xyxy in pixels of the picture.
        text: label of the box; "" for none.
    """

    kind: str
    box: tuple[float, float, float, float]
    text: str = ""


def embedded(image: "Image", width: int) -> str:
    """Return a data URL with a picture as JPEG, for pages that hold their pictures themselves.

    Args:
        image: the picture, which is reduced in place if it is wider than `width`.
        width: the largest width in pixels.
    """
    image.thumbnail((width, 2 * width))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def framed(path: Path, frames: Sequence[DrawnBox], caption: str) -> str:
    """Return a figure of a picture with frames drawn into it, as HTML.

    Args:
        path: the picture file.
        frames: the boxes; later ones are drawn over earlier ones.
        caption: text below the picture.

    Raises:
        DatasetError: the picture cannot be read.
    """
    image = pillow("a report with pictures").fromarray(read_picture(path, exact=False))
    scale = WIDTH / image.width
    height = image.height * scale
    label = escape(f"{path.name}: {caption}", quote=True)
    parts = "".join(_frame(frame, scale, height) for frame in frames)
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">'
        f'<image href="{embedded(image, WIDTH)}" width="{WIDTH}" height="{height:.1f}"/>'
        f"{parts}{''.join(_labels(frames, scale, height))}</svg>"
        f"<figcaption>{escape(path.name)}: {escape(caption)}</figcaption></figure>"
    )


def _frame(frame: DrawnBox, scale: float, height: float) -> str:
    x0, y0, x1, y1 = _clipped(frame, scale, height)
    place = f'x="{x0:.1f}" y="{y0:.1f}" width="{x1 - x0:.1f}" height="{y1 - y0:.1f}"'
    return f'<rect class="shade" {place}/><rect class="{frame.kind}" {place}/>'


def _labels(frames: Iterable[DrawnBox], scale: float, height: float) -> Iterable[str]:
    """Yield the labels above the boxes, or inside them at the picture's edge, as SVG."""
    for frame in frames:
        if frame.text:
            x0, y0, _, _ = _clipped(frame, scale, height)
            x = max(2.0, min(x0, WIDTH - LETTER * len(frame.text)))
            y = y0 - 5 if y0 >= LABEL else y0 + LABEL - 2
            text = escape(frame.text)
            yield f'<text class="{frame.kind}" x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _clipped(frame: DrawnBox, scale: float, height: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (scale * value for value in frame.box)
    left, top = max(1.0, min(x0, WIDTH - 2)), max(1.0, min(y0, height - 2))
    return left, top, max(left + 1, min(x1, WIDTH - 1)), max(top + 1, min(y1, height - 1))
