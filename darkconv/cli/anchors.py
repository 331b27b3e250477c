"""`darkconv anchors`: compute anchors from the sizes of a data set's boxes."""

from pathlib import Path

import click

from darkconv.console.files import OutputFile
from darkconv.console.messages import common_options
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.values import SizeType, seed_option
from darkconv.darknet.data import names_in
from darkconv.dataset import open_dataset
from darkconv.dataset.summary import OF_ANCHORS, anchor_rows
from darkconv.dataset.telling import report_problems
from darkconv.options.command import ModelCommand
from darkconv.options.pictures import data_option, images_option, outside_option, split_option


@click.command(cls=ModelCommand)
@data_option
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
@images_option(was="--images")
@outside_option
@seed_option("the first clusters")
@click.option(
    "--plot",
    type=OutputFile(),
    metavar="PNG",
    help="Draw the boxes' sizes in the colours of their clusters.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def anchors(
    sources: tuple[str, ...],
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
    from darkconv.dataset.anchors import anchors as find_anchors

    with names_in(None):  # no class name is shown
        dataset = open_dataset(sources, split=split, images=images_folder, outside=outside)
    report_problems(dataset)
    found = find_anchors(
        dataset, count, input_size=input_size, letterbox=letterbox, cells=cells, seed=seed
    )
    if as_json:
        echo_json(found.to_dict())
    else:
        echo_table(OF_ANCHORS, anchor_rows(found))
        echo(f"mean IoU {found.mean_iou:.4f} over {found.boxes:,} boxes")
        echo(found.line)
    if plot:
        from darkconv.dataset.anchors_plot import draw_anchors

        draw_anchors(dataset, found, plot, input_size=input_size, letterbox=letterbox, cells=cells)
        echo(f"drew {plot}", err=True)
