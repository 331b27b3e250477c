"""Pictures with handwritten digits: scikit-learn's 8x8 samples, enlarged, coloured, placed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from digits10.background import Array, Rng, colour, make_background

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = (160, 224)
"""Least and largest width and height of a picture."""
HEIGHTS = (24, 72)
"""The same of an 8x8 sample on the picture; its strokes may be a little smaller."""
COUNTS = (2, 7)
MARGIN = 2
"""Rows and columns of nothing around a sample, so that turned corners stay inside."""
CANDIDATES = 12
"""How many colours are tried for ink."""
STROKE = (0.42, 0.7)
"""Grey levels of a sample between which ink begins: sharper edges than bicubic ones."""
VISIBLE = 0.4
"""Ink from here on belongs to the box."""
CONTRAST = 0.35
"""Least difference in luminance between ink and what is behind it."""
POSITIONS = 15
"""How often a place is sought for a digit before it is left out."""
SHARED = 0.08
"""Share of the smaller of two boxes that may lie in the other."""
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Samples:
    """Digits of one split.

    Attributes:
        pictures: (n, 8, 8) uint8, 255 is ink.
        labels: (n,) 0 to 9.
    """

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its true boxes.

    Attributes:
        picture: (H, W, 3) uint8, RGB.
        boxes: (k, 5) float32 rows of class, x0, y0, x1, y1 in pixels.
    """

    picture: npt.NDArray[np.uint8]
    boxes: Array

    @property
    def labels(self) -> Array:
        """Rows as in Darknet's label files: class, centre x, y, width, height, relative."""
        height, width, _ = self.picture.shape
        low, high = self.boxes[:, 1:3], self.boxes[:, 3:5]
        size = np.array([width, height], np.float32)
        return np.hstack([self.boxes[:, :1], (low + high) / 2 / size, (high - low) / size])


def read_samples() -> tuple[Samples, Samples]:
    """Return the bundled digits, split by sample into those for training and those held out."""
    pictures, labels = load_digits(return_X_y=True)
    levels = (pictures.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    held_out, train = np.split(order, [int(HELD_OUT_SHARE * len(labels))])
    return Samples(levels[train], labels[train]), Samples(levels[held_out], labels[held_out])


def make_scene(rng: Rng, samples: Samples) -> Scene:
    """Make a random picture with 2 to 7 digits."""
    height, width = rng.integers(SIZES[0], SIZES[1] + 1, 2)
    picture = make_background(rng, height, width)
    boxes: list[tuple[int, ...]] = []
    wanted = rng.integers(COUNTS[0], COUNTS[1] + 1)
    while len(boxes) < COUNTS[0]:  # large digits may leave no room for a second one
        for index in rng.integers(len(samples.labels), size=wanted - len(boxes)):
            ink = _render(rng, samples.pictures[index])
            box = _free_place(rng, ink.shape, picture.shape, boxes)
            if box:
                boxes.append((int(samples.labels[index]), *box))
                _paint(rng, picture[box[1] : box[3], box[0] : box[2]], ink)
    levels = (picture * 255).round().clip(0, 255).astype(np.uint8)
    return Scene(levels, np.array(boxes, np.float32))


def _free_place(
    rng: Rng, ink: tuple[int, ...], picture: tuple[int, ...], boxes: list[tuple[int, ...]]
) -> tuple[int, int, int, int] | None:
    """Find a box xyxy for ink (h, w) that hardly touches the others; None if unlucky."""
    for _ in range(POSITIONS):
        top, left = (int(rng.integers(1, picture[i] - ink[i])) for i in (0, 1))
        box = (left, top, left + ink[1], top + ink[0])
        if all(_overlap(box, other[1:]) <= SHARED for other in boxes):
            return box
    return None


def _render(rng: Rng, sample: npt.NDArray[np.uint8]) -> Array:
    """Return the ink (h, w) in 0..1 of an enlarged, turned and slanted sample, cut tight."""
    scale = rng.uniform(*HEIGHTS) / 8
    stretch, angle, slant = rng.uniform(0.85, 1.1), rng.normal(0, 0.1), rng.normal(0, 0.12)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shape = np.array([[scale * stretch, slant * scale], [0, scale]])
    back = np.linalg.inv(turn @ shape)
    source = np.pad(sample, MARGIN)
    side = int(np.ceil(source.shape[0] * scale * 1.15))
    offset = source.shape[0] / 2 - back @ np.full(2, side / 2)
    coefficients = (*back[0], offset[0], *back[1], offset[1])
    grey = Image.fromarray(source).transform(
        (side, side), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    low, high = STROKE
    ink = ((np.asarray(grey, np.float32) / 255 - low) / (high - low)).clip(0, 1)
    rows, columns = (np.flatnonzero((ink > VISIBLE).any(axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _paint(rng: Rng, region: Array, ink: Array) -> None:
    """Colour the ink so that it stands out, and lay it on a region of the picture in place."""
    behind = np.percentile(region @ LUMINANCE, [10, 50, 90])
    chosen, contrast = colour(rng, strong=True), 0.0
    for _ in range(CANDIDATES):
        candidate = colour(rng, strong=True)
        found = np.abs(candidate @ LUMINANCE - behind).min()
        if found > contrast:
            chosen, contrast = candidate, found
        if contrast >= CONTRAST:
            break
    region += (chosen - region) * (ink * np.float32(rng.uniform(0.85, 1.0)))[..., None]


def _overlap(box: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Shared area over the area of the smaller box, xyxy both."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return max(width, 0) * max(height, 0) / min(areas)
