"""Draw a contact sheet: some pictures of a data set side by side, with their boxes."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from darkconv.core.spreading import evenly_spread
from darkconv.dataset.sample import Dataset, Sample
from darkconv.errors import one_line
from darkconv.pictures.drawing import Color, class_color, is_light, write_picture
from darkconv.pictures.image_file import pillow
from darkconv.pictures.lettering import label_font
from darkconv.pictures.picture import read_picture

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    Font = FreeTypeFont | ImageFont

CELL = (360, 270)
"""(width, height) in pixels of a picture's place on the sheet."""
GAP = 10
CAPTION = 20
PAPER, INK, FAINT = (255, 255, 255), (30, 36, 48), (102, 112, 133)
FEW = 8  # the most boxes of a picture that all show their names
FONT_SIZE = 12
MOST_KEYS = 60  # the most classes in the legend


def write_sheet(
    dataset: Dataset, path: Path, *, count: int, without: Collection[Path] = ()
) -> None:
    """Write a contact sheet of some pictures: see `choose` and `draw_sheet`.

    Args:
        dataset: the data set, with or without boxes.
        path: the file to write, .png or .jpg.
        count: the number of pictures.
        without: the pictures to leave out, such as unreadable ones.
    """
    write_picture(draw_sheet(choose(dataset, count, without=without), dataset.names), path)


def choose(
    dataset: Dataset, count: int, *, without: Collection[Path] = (), seed: int = 0
) -> list[Sample]:
    """Choose pictures that show all classes alike: the class shown least chooses the next picture.

    Args:
        dataset: the data set; if it has no boxes, pictures are taken evenly spread.
        count: the number of pictures.
        without: the pictures to leave out.
        seed: the seed of the order in which a class offers its pictures.

    Returns:
        The chosen pictures.
    """
    samples = [sample for sample in dataset.samples if sample.image not in without]
    if not dataset.labelled:
        return list(evenly_spread(samples, count))
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    offers: dict[str, list[int]] = {}
    for i in order:
        for name in set(samples[i].names):
            offers.setdefault(name, []).append(i)
    chosen: list[int] = []
    is_chosen: set[int] = set()
    shown = Counter(dict.fromkeys(offers, 0))
    while len(chosen) < count and offers:
        name = min(offers, key=lambda name: (shown[name], name))
        i = offers[name].pop()
        if not offers[name]:
            del offers[name]
        if i not in is_chosen:
            is_chosen.add(i)
            chosen.append(i)
            shown.update(samples[i].names)
    return [samples[i] for i in chosen]


def draw_sheet(samples: Sequence[Sample], names: Sequence[str]) -> "Image":
    """Draw pictures in rows, with boxes in the colours of their classes, and a legend.

    Args:
        samples: the pictures, which have to be readable.
        names: the class names of the data set; a class's index gives its colour.

    Returns:
        A PIL image.
    """
    from PIL import Image, ImageDraw

    pillow("drawing the sheet")
    font = label_font(names, FONT_SIZE)
    columns = max(1, math.ceil(math.sqrt(len(samples))))
    rows = math.ceil(len(samples) / columns)
    width = columns * (CELL[0] + GAP) + GAP
    used = Counter(name for sample in samples for name in sample.names)
    keys = [name for name in names if used[name]][:MOST_KEYS]
    places, legend = legend_places(keys, width, font)
    top = legend + GAP
    height = top + rows * (CELL[1] + CAPTION + GAP)
    sheet = Image.new("RGB", (width, height), PAPER)
    canvas = ImageDraw.Draw(sheet)
    order = {name: number for number, name in enumerate(names)}
    for name, (x, y) in zip(keys, places, strict=True):
        canvas.rectangle((x, y + 2, x + 12, y + 14), fill=class_color(order[name]))
        canvas.text((x + 18, y), one_line(name), fill=INK, font=font)
    for number, sample in enumerate(samples):
        row, column = divmod(number, columns)
        x, y = GAP + column * (CELL[0] + GAP), top + row * (CELL[1] + CAPTION + GAP)
        image = thumbnail(sample, order, font)
        sheet.paste(image, (x + (CELL[0] - image.width) // 2, y + (CELL[1] - image.height) // 2))
        path = one_line(f"{sample.image.parent.name}/{sample.image.name}")
        caption = shortened(path, font)
        canvas.text((x, y + CELL[1] + 3), caption, fill=FAINT, font=font)
    return sheet


def legend_places(
    names: Sequence[str], width: int, font: "Font"
) -> tuple[list[tuple[int, int]], int]:
    """Return the places of the legend's entries, in as many rows as they need, and its height.

    Args:
        names: the class names in the legend.
        width: the width of the sheet in pixels.
        font: the PIL font that measures the names.

    Returns:
        (x, y) in pixels of each entry, and the height in pixels.
    """
    places = []
    x, y = GAP, GAP
    for name in names:
        needed = 18 + math.ceil(font.getlength(one_line(name))) + 20
        if x + needed > width and x > GAP:
            x, y = GAP, y + 20
        places.append((x, y))
        x += needed
    return places, y + 20 if names else 0


def thumbnail(sample: Sample, order: dict[str, int], font: "Font") -> "Image":
    """Draw a picture at the size of a cell, with its boxes.

    If it has few boxes, all show their names; else only the largest box of each class.

    Args:
        sample: the picture, which is read from its file.
        order: the class index by name, which gives the colour.
        font: the PIL font of the names.

    Returns:
        A PIL image.
    """
    from PIL import Image, ImageDraw

    image = Image.fromarray(read_picture(sample.image, exact=False))
    scale = min(CELL[0] / image.width, CELL[1] / image.height)
    small = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    canvas = ImageDraw.Draw(small)
    limits = np.array([small.width - 1, small.height - 1] * 2)
    boxes = np.rint(sample.boxes * scale).clip(0, limits).astype(int)
    entries = list(zip(sample.names, boxes.tolist(), strict=True))
    entries.sort(key=lambda entry: -(entry[1][2] - entry[1][0]) * (entry[1][3] - entry[1][1]))
    for name, box in entries:
        canvas.rectangle(tuple(box), outline=class_color(order[name]), width=2)
    largest = {name: (name, box) for name, box in reversed(entries)}
    for name, box in entries if len(entries) <= FEW else largest.values():
        write_name(canvas, name, (box[0], box[1]), class_color(order[name]), font)
    return small


def write_name(
    canvas: "ImageDraw", name: str, corner: tuple[int, int], color: Color, font: "Font"
) -> None:
    """Write a class name on its colour in the corner of a box.

    Args:
        canvas: the PIL canvas to draw on.
        name: the class name, which is drawn on one line.
        corner: (x, y) of the box's upper left corner in pixels.
        color: the RGB levels of the class, 0 to 255.
        font: the PIL font of the name.
    """
    place = corner[0] + 3, corner[1] + 2
    name = one_line(name)
    left, top, right, bottom = canvas.textbbox(place, name, font=font)
    canvas.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=color)
    canvas.text(place, name, fill=(0, 0, 0) if is_light(color) else PAPER, font=font)


def shortened(text: str, font: "Font") -> str:
    """Return the end of a text, as much as fits below a picture.

    Args:
        text: the caption, on one line.
        font: the PIL font that measures the text.
    """
    if font.getlength(text) <= CELL[0]:
        return text
    while font.getlength(f"...{text}") > CELL[0]:
        text = text[1:]
    return f"...{text}"
