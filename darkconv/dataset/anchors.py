"""Find anchors: the widths and heights around which a data set's boxes cluster.

The method is k-means with the distance 1 - IoU of boxes that share a corner, as in the paper of
YOLOv2 (Redmon, Farhadi 2017), started by k-means++ (Arthur, Vassilvitskii 2007).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.dataset.label import Size
from darkconv.dataset.open import open_dataset
from darkconv.dataset.paths import picture_size
from darkconv.dataset.sample import Dataset
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files import PathLike
from darkconv.presentation.notebook import html_table

Floats = npt.NDArray[np.float64]

COUNT, INPUT_SIZE = 9, (416, 416)
CELL = 32
"""The pixels of a cell, the unit of [region]'s anchors."""
STARTS = 10
ROUNDS = 1000
CHUNK = 1 << 16
"""The boxes whose IoU is computed at once."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """The result of `dc.anchors`.

    Attributes:
        anchors: (k, 2) float64, width and height sorted by area, in pixels of the network input, or
            in cells of 32 pixels if these were asked for.
        mean_iou: the mean over the boxes of the IoU with their best anchor, 0..1.
        counts: (k,) int64, the number of boxes that are nearest to each anchor.

    Example:
        >>> import darkconv as dc
        >>> found = dc.anchors("digits10.data", count=3, input_size=(160, 160))
        >>> found.anchors.shape, 0 < found.mean_iou < 1
        ((3, 2), True)
    """

    anchors: Floats
    mean_iou: float
    counts: npt.NDArray[np.int64]

    @property
    def boxes(self) -> int:
        """Return the number of boxes."""
        return int(self.counts.sum())

    @property
    def line(self) -> str:
        """Return the line for the cfg: `anchors = 10,13, 16,30`."""
        pairs = (",".join(f"{value:.4g}" for value in pair) for pair in self.anchors.tolist())
        return f"anchors = {', '.join(pairs)}"

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.anchors)

    def __repr__(self) -> str:
        """Return a line of text."""
        return f"<Anchors: {self._caption()}>"

    def _repr_html_(self) -> str:
        """Return an HTML table for notebooks, with a row for each anchor."""
        rows = [
            (f"{width:.4g}", f"{height:.4g}", f"{count:,}")
            for (width, height), count in zip(
                self.anchors.tolist(), self.counts.tolist(), strict=True
            )
        ]
        return html_table(("width", "height", "boxes"), rows, (), caption=[self._caption()])

    def _caption(self) -> str:
        return f"{len(self)} for {self.boxes:,} boxes, mean IoU {self.mean_iou:.4f}"

    def to_dict(self) -> dict[str, Any]:
        """Return values for JSON: anchors, counts, mean_iou and the number of boxes."""
        return {
            "anchors": self.anchors.tolist(),
            "counts": self.counts.tolist(),
            "mean_iou": self.mean_iou,
            "boxes": self.boxes,
        }


@checked
def anchors(
    dataset: Dataset | PathLike | Sequence[PathLike],
    count: int = COUNT,
    *,
    input_size: Size = INPUT_SIZE,
    letterbox: bool = False,
    cells: bool = False,
    seed: int = 0,
) -> Anchors:
    """Find the widths and heights around which a data set's boxes cluster.

    The method is k-means with the distance 1 - IoU of boxes that share a corner, with ten starts,
    of which the best one counts.

    Args:
        dataset: a data set with labels, or any source that `open_dataset` takes.
        count: the number of anchors.
        input_size: (width, height) of the network input in pixels.
        letterbox: pictures keep their proportions in the network input; by default they are
            stretched.
        cells: return anchors in cells of 32 pixels, as [region] takes them, rather than in pixels,
            as [yolo] does.
        seed: the seed of the random starts, from 0.

    Returns:
        An `Anchors`: `.anchors`, `.mean_iou`, `.counts`, `.line` for the cfg, `.to_dict()`.

    Raises:
        DatasetError: the source cannot be read, has no box, or has fewer different sizes of boxes
            than anchors.
        DarkconvError: a side of the input size is below 1, or the seed is negative.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_folder
        >>> found = dc.anchors(digits10_folder() / "digits10.data", 3, input_size=(96, 96))
        >>> len(found), found.mean_iou > 0.7
        (3, True)
    """
    if min(input_size) < 1:
        raise DarkconvError("input_size", expected="a width and height from 1", found=input_size)
    if seed < 0:
        raise DarkconvError("seed", expected="a whole number from 0", found=seed)
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset)
    found = find_anchors(box_sizes(opened, input_size, letterbox=letterbox), count, seed=seed)
    return replace(found, anchors=found.anchors / CELL) if cells else found


def box_sizes(dataset: Dataset, input_size: Size, *, letterbox: bool = False) -> Floats:
    """Return width and height of all boxes as they appear in a network's input.

    Args:
        dataset: pictures with boxes; boxes are cut at the picture's border.
        input_size: (width, height) of the network input in pixels.
        letterbox: pictures keep their proportions.

    Returns:
        (n, 2) float64, in pixels of the network input.

    Raises:
        DatasetError: there is no box.
    """
    found = [np.empty((0, 2))]
    for sample in dataset.samples:
        if not sample.names:
            continue
        size = np.array(sample.size or picture_size(sample.image), np.float64)
        boxes = sample.boxes.clip(0, np.tile(size, 2))
        scale = np.array(input_size) / size
        if letterbox:
            scale = np.full(2, scale.min())
        found.append((boxes[:, 2:] - boxes[:, :2]) * scale)
    sizes: Floats = np.concatenate(found)
    sizes = sizes[(sizes > 0).all(axis=1)]
    if not len(sizes):
        raise DatasetError(f"{dataset.source}: no boxes to find anchors for")
    return sizes


def find_anchors(sizes: Floats, count: int, *, seed: int = 0) -> Anchors:
    """Cluster widths and heights, and return the best of several starts.

    Args:
        sizes: (n, 2) width and height of boxes.
        count: the number of anchors.
        seed: the seed of the random starts.

    Returns:
        The anchors, in the unit of `sizes`.

    Raises:
        DatasetError: there are fewer different sizes than anchors.
    """
    different = len(np.unique(sizes, axis=0))
    if not 0 < count <= different:
        raise DatasetError("anchors", expected=f"1 to {different}, for so many sizes", found=count)
    sizes = sizes[np.lexsort(sizes.round(1).T)]  # the result must not depend on the pictures' order
    stream = np.random.default_rng(seed)
    runs = [_cluster(sizes, count, stream) for _ in range(STARTS)]
    return max(runs, key=lambda run: run.mean_iou)


def _cluster(sizes: Floats, count: int, stream: np.random.Generator) -> Anchors:
    centres = _start(sizes, count, stream)
    nearest, _ = _nearest(sizes, centres)
    for _ in range(ROUNDS):
        moved = np.array(
            [
                np.median(own, axis=0) if len(own := sizes[nearest == k]) else centre
                for k, centre in enumerate(centres)
            ]
        )
        before, centres = nearest, moved
        nearest, _ = _nearest(sizes, centres)
        if np.array_equal(before, nearest):
            break
    order = np.argsort(centres.prod(axis=1), kind="stable")
    nearest, overlaps = _nearest(sizes, centres[order])
    counts = np.bincount(nearest, minlength=count)
    return Anchors(centres[order], float(overlaps.mean()), counts)


def _start(sizes: Floats, count: int, stream: np.random.Generator) -> Floats:
    """Return distant boxes as starting centres: the farther a box, the more probable it is."""
    centres: Floats = sizes[stream.integers(len(sizes))][None]
    while len(centres) < count:
        _, overlaps = _nearest(sizes, centres)
        chance = (1 - overlaps) ** 2
        chosen = stream.choice(len(sizes), p=chance / chance.sum())
        centres = np.concatenate([centres, sizes[chosen][None]])
    return centres


def _nearest(sizes: Floats, centres: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return the index of the centre with the highest IoU for each size, (n,), and that IoU."""
    parts = [size_overlaps(sizes[i : i + CHUNK], centres) for i in range(0, len(sizes), CHUNK)]
    nearest = np.concatenate([part.argmax(axis=1) for part in parts])
    return nearest, np.concatenate([part.max(axis=1) for part in parts])


def size_overlaps(a: Floats, b: Floats) -> Floats:
    """Return the IoU of boxes that share a corner.

    Args:
        a: (n, 2) width and height.
        b: (k, 2) width and height, in the same unit.

    Returns:
        (n, k) float64 in 0..1.
    """
    shared: Floats = np.minimum(a[:, None], b[None]).prod(axis=2)
    overlaps: Floats = shared / (a.prod(axis=1)[:, None] + b.prod(axis=1)[None] - shared)
    return overlaps
