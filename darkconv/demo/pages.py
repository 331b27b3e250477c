"""Show the demo's results: its page, and pictures with the boxes of both models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.assets import digits10_pictures
from darkconv.core.model import Model
from darkconv.demo.figures import DemoFigures, stages
from darkconv.demo.page import DemoReport, write_demo_report
from darkconv.detection import detect
from darkconv.detection.draw import draw
from darkconv.dissection.measured import found_by_both
from darkconv.pictures.drawing import write_picture
from darkconv.pictures.picture import read_picture

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN = 6  # number of pictures that are drawn side by side


def write_page(
    folder: Path,
    measured: Mapping[str, DemoFigures],
    conditions: str,
    checks: Sequence[str],
    models: tuple[Model, Model],
    seconds: float,
) -> None:
    """Write the page of the demo.

    Args:
        folder: the folder of everything that was made; the page is its demo.html.
        measured: the figures of the models, by name.
        conditions: description of how latency was measured.
        checks: results of the checks, a sentence each.
        models: the first and the last model.
        seconds: time of the whole demo.
    """
    pictures = [found_by_both(*models, path, "torch") for path in digits10_pictures()[:SHOWN]]
    files = [(path.name, path.stat().st_size) for path in sorted(folder.iterdir())]
    report = DemoReport(stages(measured), conditions, checks, pictures, files, seconds)
    write_demo_report(folder / "demo.html", report)


def draw_pictures(whole: Model, small: Model, folder: Path) -> Path:
    """Draw some test pictures with the boxes of both models, side by side in one PNG.

    Args:
        whole: the first model.
        small: the last model.
        folder: the folder for the file.

    Returns:
        The absolute path of the file.
    """
    pairs = []
    for path in digits10_pictures()[:SHOWN]:
        picture = read_picture(path)
        kept = [replace(d, class_id=whole.names.index(d.name)) for d in detect(small, path)]
        pairs.append([draw(picture, detect(whole, path)), draw(picture, kept)])
    target = folder / "before-and-after.png"
    write_picture(side_by_side(pairs), target)
    return target.resolve()


def side_by_side(pairs: "list[list[Image]]", size: int = 320, margin: int = 12) -> "Image":
    """Put pairs of pictures into columns: the first of each pair above, the second below.

    Args:
        pairs: the pairs of pictures.
        size: width of a picture in pixels, and its height at most.
        margin: pixels between the pictures.

    Returns:
        One picture.
    """
    from PIL import Image

    step = size + margin
    sheet = Image.new("RGB", (len(pairs) * step + margin, 2 * step + margin), "white")
    for column, pair in enumerate(pairs):
        for row, image in enumerate(pair):
            shown = image.resize((size, size * image.height // image.width))
            shown.thumbnail((size, size))
            sheet.paste(shown, (margin + column * step, margin + row * step))
    return sheet
