"""Anchors: widths and heights that a data set's boxes cluster about.

k-means with the distance 1 - IoU of boxes laid on one corner, as in the paper of YOLOv2
(Redmon, Farhadi 2017), started by k-means++ (Arthur, Vassilvitskii 2007).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.dataset.label import Size
from darkconv.dataset.paths import picture_size
from darkconv.dataset.sample import Dataset
from darkconv.errors import DatasetError

Floats = npt.NDArray[np.float64]

STARTS = 10
ROUNDS = 1000
CHUNK = 1 << 16
"""Boxes whose overlaps are held at once."""


@dataclass(frozen=True, eq=False)
class Anchors:
    """Result of `find_anchors`.

    Attributes:
        sizes: (k, 2) width and height, by rising area.
        mean_iou: mean over the boxes of the IoU with the best anchor.
        counts: (k,) boxes that are nearest to each.
    """

    sizes: Floats
    mean_iou: float
    counts: npt.NDArray[np.int64]


def box_sizes(dataset: Dataset, input_size: Size, *, letterbox: bool = False) -> Floats:
    """(n, 2) width and height of all boxes as they appear in a network's input.

    Args:
        dataset: pictures with boxes; boxes are cut at the picture's edge.
        input_size: (width, height) of the network.
        letterbox: whether pictures keep their shape.

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
    """Cluster widths and heights; the best of several starts counts.

    Args:
        sizes: (n, 2).
        count: number of anchors.
        seed: of the starts.

    Raises:
        DatasetError: fewer different sizes than anchors.
    """
    different = len(np.unique(sizes, axis=0))
    if not 0 < count <= different:
        raise DatasetError("anchors", expected=f"1 to {different}, for so many sizes", found=count)
    sizes = sizes[np.lexsort(sizes.round(1).T)]  # the order of pictures must not count
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
    """Boxes far from each other: each drawn with a chance that grows with its distance."""
    centres: Floats = sizes[stream.integers(len(sizes))][None]
    while len(centres) < count:
        _, overlaps = _nearest(sizes, centres)
        chance = (1 - overlaps) ** 2
        chosen = stream.choice(len(sizes), p=chance / chance.sum())
        centres = np.concatenate([centres, sizes[chosen][None]])
    return centres


def _nearest(sizes: Floats, centres: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """(n,) the centre of highest IoU, and that IoU."""
    parts = [size_overlaps(sizes[i : i + CHUNK], centres) for i in range(0, len(sizes), CHUNK)]
    nearest = np.concatenate([part.argmax(axis=1) for part in parts])
    return nearest, np.concatenate([part.max(axis=1) for part in parts])


def size_overlaps(a: Floats, b: Floats) -> Floats:
    """(n, k) IoU of boxes (n, 2) and (k, 2) laid on one corner."""
    shared: Floats = np.minimum(a[:, None], b[None]).prod(axis=2)
    overlaps: Floats = shared / (a.prod(axis=1)[:, None] + b.prod(axis=1)[None] - shared)
    return overlaps
