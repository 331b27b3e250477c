"""`darkconv data`: a look at a data set, and other layouts of it."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from darkconv.cli.file_types import InputFile, OutputFile, ReplacedFolder
from darkconv.cli.given import refuse
from darkconv.cli.groups import SuggestingGroup
from darkconv.cli.params import ModelCommand, Word, common_options
from darkconv.cli.pictures import (
    images_option,
    outside_option,
    read_pairs,
    rename_option,
    split_option,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.cli.progress import progress
from darkconv.dataset import Dataset, open_dataset, open_splits
from darkconv.dataset.classes import renamed
from darkconv.dataset.telling import report_problems
from darkconv.presentation.numerals import format_count

if TYPE_CHECKING:
    from darkconv.dataset.check import Check, ClassCount
    from darkconv.dataset.sample import Layout
    from darkconv.dataset.write import Written

logger = logging.getLogger("darkconv")

HEADERS = ("class", "boxes", "share", "pictures", "mean width", "mean height")
SHOWN = 10
"""Findings of a kind, without --all."""


names_option = click.option(
    "--names",
    "--data-names",
    type=InputFile(dir_okay=False),
    metavar="FILE",
    help="Class names of the labels  [default: those beside them]",
)


@click.group(cls=SuggestingGroup)
def data() -> None:
    """Look at a data set, or write it in another layout.

    Example: darkconv data check voc.data -o sheet.png
    """


@data.command(cls=ModelCommand, short_help="Count boxes, find what is wrong, draw some pictures.")
@click.argument("sources", nargs=-1, required=True, type=Word(), metavar="D...")
@names_option
@split_option
@images_option("--images", "--data-images")
@outside_option
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    metavar="PNG",
    help="Draw a sheet of pictures with their boxes.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many are on the sheet; each class has its share.",
)
@click.option("--all", "show_all", is_flag=True, help=f"Show all findings, not {SHOWN} of a kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@common_options
def check(
    sources: tuple[str, ...],
    names: Path | None,
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
        from darkconv.detection.draw import picture_format

        picture_format(output)
    dataset = open_dataset(
        list(sources), names=names, split=split, images=images_folder, outside=outside
    )
    with progress(len(dataset), "reading pictures") as update:
        result = check_dataset(dataset, update)
    if as_json:
        echo_json(result.as_dict())
    else:
        show(result, most=None if show_all else SHOWN)
    if output:
        draw(dataset, result, output, pictures)


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
@names_option
@rename_option
@split_option
@images_option("--images", "--data-images")
@outside_option
@common_options
def convert(
    sources: tuple[str, ...],
    output: Path,
    form: str,
    copy: bool,
    names: Path | None,
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
        list(sources), split=split, names=names, images=images_folder, outside=outside
    )
    for part in parts.values():
        report_problems(part)
    if rename:
        parts = renamed_parts(parts, dict(read_pairs(rename, "--rename")))
    tell_written(write_dataset(parts, output, form, copy=copy))


def renamed_parts(
    parts: Mapping[str | None, Dataset], mapping: Mapping[str, str]
) -> dict[str | None, Dataset]:
    """Return splits with other class names.

    Raises:
        DatasetError: a class that no split has.
    """
    known = {name for part in parts.values() for name in part.names}
    first = next(iter(parts.values()))
    renamed(replace(first, names=tuple(known)), mapping)
    return {split: renamed(part, mapping, partly=True) for split, part in parts.items()}


def tell_written(written: "Written") -> None:
    """Print what was written, and warn of what was left out or leads elsewhere."""
    for line in written.problems:
        logger.warning("%s", line)
    if written.leads_outside:
        logger.warning(
            "%s: %d pictures are links that lead out of its folder: commands need --outside to "
            "follow them, or --copy writes them whole",
            written.path,
            written.leads_outside,
        )
    splits = ", ".join(f"{name} {count}" for name, count in written.splits.items())
    echo(
        f"wrote {written.path}: {_count(written.pictures, 'picture')}, "
        f"{_count(written.boxes, 'box', 'boxes')}, {_count(len(written.names), 'class', 'classes')}"
        f"{f', splits {splits}' if splits else ''}",
        err=True,
    )


def show(result: "Check", *, most: int | None) -> None:
    """Print the counts and the findings, so many of a kind."""
    from darkconv.dataset.check import KINDS

    for layout in result.layouts:
        for line in layout_lines(layout):
            echo(line)
    for note in result.notes:
        echo(note)
    echo(
        f"{_count(result.pictures, 'picture')}, {format_count(len(result.empty))} without a box, "
        f"{_count(result.boxes, 'box', 'boxes')}"
    )
    if result.classes:
        echo_table(HEADERS, [cells(one, result) for one in result.classes], left=(0,))
    for kind, lines in result.findings.items():
        if not lines:
            continue
        echo(f"{KINDS[kind]}: {format_count(len(lines))}", bold=True)
        for line in lines[:most]:
            echo(f"  {line}")
        if most is not None and len(lines) > most:
            echo(f"  ... and {format_count(len(lines) - most)} more: --all shows them")
    if not any(result.findings.values()):
        echo("nothing is wrong with pictures and labels")


def layout_lines(layout: "Layout") -> Iterator[str]:
    """Yield how a source is laid out, and where its names, labels and splits come from."""
    yield f"{layout.source}: {layout.form}"
    none = "nothing: classes are numbers" if layout.numbered and layout.labels_from else "no file"
    splits = [f"{name} (read)" if name == layout.split else name for name in layout.splits]
    for word, places in (
        ("names", layout.names_from or (none,)),
        ("labels", layout.labels_from or ("nothing",)),
        ("splits", splits or ("none",)),
    ):
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        yield f"  {word}: {', '.join(places[:SHOWN])}{more}"


def cells(one: "ClassCount", result: "Check") -> tuple[object, ...]:
    """A row of the table."""
    whole, part = (result.boxes, one.boxes) if result.boxes else (result.pictures, one.pictures)
    sizes = ("" if value != value else f"{value:.1%}" for value in (one.width, one.height))
    share = f"{part / max(whole, 1):.1%}"
    return one.name, format_count(one.boxes), share, format_count(one.pictures), *sizes


def draw(dataset: Dataset, result: "Check", path: Path, count: int) -> None:
    """Write the sheet of pictures."""
    from darkconv.dataset.sheet import choose, draw_sheet
    from darkconv.detection.draw import write_picture

    samples = choose(dataset, count, without=result.unreadable)
    write_picture(draw_sheet(samples, dataset.names), path)
    echo(f"drew {path}", err=True)


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{format_count(number)} {one if number == 1 else several or one + 's'}"
