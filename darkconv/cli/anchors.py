"""`darkconv anchors`: widths and heights that a data set's boxes cluster about."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import OutputFile
from darkconv.cli.params import ModelCommand, SizeType, Word, common_options
from darkconv.cli.pictures import (
    KINDS,
    images_option,
    outside_option,
    report_problems,
    split_option,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.dataset import open_dataset
from darkconv.libraries import telling_missing

if TYPE_CHECKING:
    from darkconv.dataset.anchors import Anchors, Floats

HEADERS = ("anchor", "width", "height", "boxes", "share")
DOTS = 20_000
"""Boxes that a plot shows."""


@click.command(cls=ModelCommand)
@click.option(
    "--data",
    "source",
    required=True,
    type=Word(),
    metavar="D",
    help=f"Labelled pictures: {KINDS}.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), default=9, show_default=True)
@click.option(
    "--input-size",
    type=SizeType(),
    default="416x416",
    show_default=True,
    metavar="WxH",
    help="Of the network.",
)
@click.option("--letterbox", is_flag=True, help="Pictures keep their shape.")
@click.option(
    "--cells",
    is_flag=True,
    help="In cells of 32 pixels, as [region] wants them, not in pixels, as [yolo] does.",
)
@split_option
@images_option("--images", "--data-images")
@outside_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--plot",
    type=OutputFile(),
    metavar="PNG",
    help="Draw the boxes' sizes in the colours of their clusters.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def anchors(
    source: str,
    count: int,
    input_size: tuple[int, int],
    letterbox: bool,
    cells: bool,
    split: str | None,
    images_folder: Path | None,
    outside: bool,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Find anchors for a data set: k-means with the distance 1 - IoU.

    Prints the line for the cfg, and the mean IoU of the boxes with their best anchor.

    Example: darkconv anchors --data voc.data -n 9 --input-size 416x416
    """
    from darkconv.dataset.anchors import box_sizes, find_anchors

    dataset = open_dataset(source, split=split, images=images_folder, outside=outside)
    report_problems(dataset)
    sizes = box_sizes(dataset, input_size, letterbox=letterbox)
    found = find_anchors(sizes, count, seed=seed)
    unit = 32 if cells else 1
    line = cfg_line(found.sizes / unit)
    if as_json:
        echo_json(as_dict(found, unit, len(sizes)))
    else:
        echo_table(HEADERS, rows(found, unit, len(sizes)))
        echo(f"mean IoU {found.mean_iou:.4f} over {len(sizes):,} boxes")
        echo(line)
    if plot:
        draw_clusters(sizes, found, plot)
        echo(f"drew {plot}", err=True)


def cfg_line(sizes: "Floats") -> str:
    """`anchors = 10,13, 16,30`: what goes into the cfg."""
    pairs = (",".join(f"{value:.4g}" for value in pair) for pair in sizes.tolist())
    return f"anchors = {', '.join(pairs)}"


def rows(found: "Anchors", unit: int, total: int) -> list[tuple[object, ...]]:
    """The cells of the table."""
    return [
        (number, f"{width / unit:.4g}", f"{height / unit:.4g}", count, f"{count / total:.1%}")
        for number, ((width, height), count) in enumerate(
            zip(found.sizes.tolist(), found.counts.tolist(), strict=True)
        )
    ]


def as_dict(found: "Anchors", unit: int, total: int) -> dict[str, Any]:
    """For JSON."""
    return {
        "anchors": (found.sizes / unit).tolist(),
        "counts": found.counts.tolist(),
        "mean_iou": found.mean_iou,
        "boxes": total,
    }


def draw_clusters(sizes: "Floats", found: "Anchors", path: Path) -> None:
    """Widths and heights as dots, anchors as crosses.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    import numpy as np

    from darkconv.dataset.anchors import size_overlaps
    from darkconv.evaluation.plots import write_figure

    with telling_missing("--plot"):
        from matplotlib.figure import Figure
    shown = sizes
    if len(sizes) > DOTS:
        shown = sizes[np.random.default_rng(0).choice(len(sizes), DOTS, replace=False)]
    nearest = size_overlaps(shown, found.sizes).argmax(axis=1)
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(shown[:, 0], shown[:, 1], c=nearest, s=6, cmap="tab10", alpha=0.5, linewidths=0)
    axes.scatter(found.sizes[:, 0], found.sizes[:, 1], marker="+", c="black", s=120, linewidths=1.5)
    axes.set(
        xlabel="width (pixels of the input)",
        ylabel="height (pixels of the input)",
        title=f"{len(found.sizes)} anchors, mean IoU {found.mean_iou:.3f}",
        xlim=0,
        ylim=0,
    )
    axes.set_aspect("equal")
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, path, dpi=120)
