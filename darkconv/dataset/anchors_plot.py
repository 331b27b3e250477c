"""Plot the clusters of box sizes that anchors are found from."""

import numpy as np

from darkconv.dataset import Dataset
from darkconv.dataset.anchors import CELL, Anchors, box_sizes, size_overlaps
from darkconv.dataset.label import Size
from darkconv.files import PathLike
from darkconv.libraries import telling_missing
from darkconv.report.figure import write_figure

DOTS = 20_000
"""The most boxes that a plot shows."""


def draw_anchors(
    dataset: Dataset,
    found: Anchors,
    path: PathLike,
    *,
    input_size: Size,
    letterbox: bool = False,
    cells: bool = False,
) -> None:
    """Plot sizes of boxes as dots in the colours of their clusters, and anchors as crosses.

    Args:
        dataset: the data set that the anchors were found for.
        found: the anchors, as `dc.anchors` found them for this data set.
        path: the picture file to write.
        input_size: (width, height) of the network input in pixels, as for `dc.anchors`.
        letterbox: pictures keep their proportions, as for `dc.anchors`.
        cells: the anchors are in cells of 32 pixels, as for `dc.anchors`.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    with telling_missing("--plot"):
        from matplotlib.figure import Figure
    shown = box_sizes(dataset, input_size, letterbox=letterbox)
    centres = found.anchors * CELL if cells else found.anchors
    if len(shown) > DOTS:
        shown = shown[np.random.default_rng(0).choice(len(shown), DOTS, replace=False)]
    nearest = size_overlaps(shown, centres).argmax(axis=1)
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(shown[:, 0], shown[:, 1], c=nearest, s=6, cmap="tab10", alpha=0.5, linewidths=0)
    axes.scatter(centres[:, 0], centres[:, 1], marker="+", c="black", s=120, linewidths=1.5)
    axes.set(
        xlabel="width (pixels of the input)",
        ylabel="height (pixels of the input)",
        title=f"{len(centres)} anchors, mean IoU {found.mean_iou:.3f}",
        xlim=0,
        ylim=0,
    )
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, path, dpi=120)
