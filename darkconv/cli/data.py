"""`darkconv data`: look at a data set, and write it in other layouts."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkconv.console.files import OutputFile, ReplacedFolder
from darkconv.console.given import refuse
from darkconv.console.groups import SuggestingGroup
from darkconv.console.messages import common_options
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.progress import progress
from darkconv.console.renamed import option
from darkconv.console.values import read_pairs
from darkconv.dataset import open_dataset, open_splits
from darkconv.dataset.classes import renamed_splits
from darkconv.dataset.summary import OF_CLASSES, class_row, finding_lines, head_lines
from darkconv.dataset.telling import report_problems
from darkconv.options.command import ModelCommand
from darkconv.options.params import Word, names_encoding_option
from darkconv.options.pictures import (
    images_option,
    names_option,
    outside_option,
    rename_option,
    split_option,
)

if TYPE_CHECKING:
    from darkconv.dataset.check import Check
    from darkconv.dataset.write import Written

logger = logging.getLogger("darkconv")

SHOWN = 10
"""The most findings of a kind that are shown without --all."""


@click.group(cls=SuggestingGroup)
def data() -> None:
    """Look at a data set, or write it in another layout.

    Example: darkconv data check voc.data -o sheet.png
    """


@data.command(cls=ModelCommand, short_help="Count boxes, find what is wrong, draw some pictures.")
@click.argument("sources", nargs=-1, required=True, type=Word(), metavar="D...")
@names_option("names", was="--names")
@names_encoding_option
@split_option
@images_option(was="--images")
@outside_option
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    metavar="PNG",
    help="Draw a sheet of pictures with their boxes.",
)
@option(
    "--count",
    "pictures",
    was="--pictures",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many pictures are on the sheet; each class has its share.",
)
@click.option("--all", "show_all", is_flag=True, help=f"Show all findings, not {SHOWN} of a kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def check(
    sources: tuple[str, ...],
    names: Path | None,
    names_encoding: str | None,
    split: str | None,
    images_folder: Path | None,
    outside: bool,
    output: Path | None,
    pictures: int,
    show_all: bool,
    as_json: bool,
) -> None:
    """Count boxes of each class, find what is wrong, draw some pictures.

    D is pictures, folders, patterns such as 'photos/*.jpg', lists, data.yaml, Darknet's .data, VOC,
    COCO's .json and the folders of labelling tools. Every picture is read. It is told which layout
    was recognised, and where names, labels and splits come from. Whatever is found, the exit code
    is 0.

    Example: darkconv data check voc.data -o sheet.png
    """
    from darkconv.dataset.check import check as check_dataset

    if output is None:
        refuse("pictures", because="pictures are drawn with -o alone")
    if as_json:
        refuse("show_all", because="--json has all findings")
    if output:
        from darkconv.pictures.drawing import picture_format

        picture_format(output)
    dataset = open_dataset(
        list(sources),
        names=names,
        split=split,
        images=images_folder,
        outside=outside,
        names_encoding=names_encoding,
    )
    with progress(len(dataset), "reading pictures") as update:
        result = check_dataset(dataset, update)
    if as_json:
        echo_json(result.as_dict())
    else:
        show(result, most=None if show_all else SHOWN)
    if output:
        from darkconv.dataset.sheet import write_sheet

        write_sheet(dataset, output, count=pictures, without=result.unreadable)
        echo(f"drew {output}", err=True)


@data.command(cls=ModelCommand, short_help="Write a data set in another layout.")
@click.argument("sources", nargs=-1, required=True, type=Word(), metavar="D...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=ReplacedFolder(),
    metavar="DIR",
    help="A new folder, or one that this command has written before.",
)
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["darknet", "yolo", "voc", "coco"]),
    help="Layout: Darknet's .data and lists, data.yaml as Ultralytics reads it, VOC or COCO.",
)
@click.option("--copy", is_flag=True, help="Copy the pictures; by default they are linked.")
@names_option("names", was="--names")
@names_encoding_option
@rename_option
@split_option
@images_option(was="--images")
@outside_option
@common_options
def convert(
    sources: tuple[str, ...],
    output: Path,
    form: str,
    copy: bool,
    names: Path | None,
    names_encoding: str | None,
    rename: str | None,
    split: str | None,
    images_folder: Path | None,
    outside: bool,
) -> None:
    """Write a data set in another layout: pictures, boxes, names, splits and difficult marks.

    D is what `data check` takes. All splits are written, or the one that --split names. The
    pictures become links where the file system allows it.

    Example: darkconv data convert voc -o yolo --to yolo
    """
    from darkconv.dataset.write import check_target, write_dataset

    check_target(output)
    parts = open_splits(
        list(sources),
        split=split,
        names=names,
        images=images_folder,
        outside=outside,
        names_encoding=names_encoding,
    )
    for part in parts.values():
        report_problems(part)
    if rename is not None:
        parts = renamed_splits(parts, read_pairs(rename, "--rename"))
    tell_written(write_dataset(parts, output, form, copy=copy))


def tell_written(written: "Written") -> None:
    """Print the files that were written, and warn of what was left out or leads elsewhere.

    Args:
        written: the report on the data set that was written.
    """
    for line in written.warnings:
        logger.warning("%s", line)
    echo(written.summary, err=True)


def show(result: "Check", *, most: int | None) -> None:
    """Print the counts and the findings, at most `most` of a kind.

    Args:
        result: counts and findings of a data set.
        most: number of findings of a kind to show; None for all.
    """
    for line in head_lines(result):
        echo(line)
    if result.classes:
        echo_table(OF_CLASSES, [class_row(one, result) for one in result.classes], left=(0,))
    for line, is_heading in finding_lines(result, most=most):
        echo(line, bold=is_heading)
