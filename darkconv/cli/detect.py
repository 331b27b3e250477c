"""`darkconv detect`: objects in pictures."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.detecting import detection_options, open_engine, running_options
from darkconv.cli.file_types import InputFile, OutputFolder
from darkconv.cli.params import (
    SHARE,
    ModelCommand,
    model_options,
    split_model,
    words_argument,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.files import make_folder
from darkconv.files.outputs import check_own, note_folder_use, note_output, note_pictures
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    from darkconv.detection import Detections


@click.command(cls=ModelCommand)
@words_argument("MODEL IMAGE...")
@click.option(
    "-o",
    "--output",
    type=OutputFolder(file_okay=True),
    metavar="DIR",
    help="Folder, or file, for pictures with boxes.",
)
@click.option(
    "--font",
    type=InputFile(dir_okay=False, exists=True),
    metavar="FILE",
    help="Font of the labels that -o draws  [default: one that has their letters]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--threshold", type=SHARE, help="Least score  [default: 0.25, or what an ONNX file says]"
)
@detection_options
@running_options(batch=1)
@model_options
def detect(
    words: tuple[str, ...],
    output: Path | None,
    font: Path | None,
    as_json: bool,
    device: str,
    batch: int,
    threads: int | None,
    names: str | None,
    names_encoding: str | None,
    dialect: str,
    input_size: tuple[int, int] | None,
    allow_nonfinite: bool,
    **options: Any,
) -> None:
    """Find objects in pictures and draw boxes.

    IMAGE is a file or a folder of pictures. A picture that cannot be read is reported and
    skipped. Drawings have the pictures' names: two pictures of one name are refused, and so are
    files in DIR that darkconv has not drawn, which --overwrite replaces. MODEL may also be an ONNX
    or LiteRT file of `darkconv convert`, with any --head.

    Example: darkconv detect yolov4.cfg yolov4.weights dog.jpg -o drawn
    """
    model_words, images = split_model(words)
    if not images:
        has_weights = model_words.is_exported or str(model_words.weights).endswith(".weights")
        hint = "" if has_weights else ": a MODEL is NET.cfg NET.weights, and pictures follow"
        raise click.UsageError(f"Missing argument 'IMAGE'{hint}")
    if font and not output:
        raise click.UsageError("--font is for the labels that -o draws")
    from darkconv.detection.detector import listed
    from darkconv.detection.draw import write_picture
    from darkconv.detection.stream import stream

    files = picture_files(images)
    targets = note_drawings(files, output) if output else []
    engine = open_engine(
        model_words,
        options,
        device=device,
        threads=threads,
        names=names,
        names_encoding=names_encoding,
        dialect=dialect,
        input_size=input_size,
        allow_nonfinite=allow_nonfinite,
    )
    results = []
    for frame in stream(engine, files, batch=batch, unreadable="skip"):
        found = listed(engine, frame.found)
        entries = [asdict(one) for one in found]
        results.append({"image": frame.source, "detections": entries, "hidden": found.hidden})
        if not as_json:
            show(frame.source, found)
        if output:
            target = targets[frame.index]
            make_folder(target.parent)
            write_picture(found.draw(frame.picture, font=font), target)
            echo(f"drew {target}", err=True)
    if as_json:
        echo_json(results)


def picture_files(images: Sequence[str]) -> list[Path]:
    """The pictures that files, folders, patterns and lists name.

    Raises:
        DatasetError: one of them has no pictures.
    """
    from darkconv.detection.sources import list_pictures

    return list_pictures(list(images))


def show(name: str, found: "Detections") -> None:
    """Print a table of one picture's detections."""
    echo(f"{name}: {len(found)} found")
    if found:
        rows = [(d.name, f"{per_cent(d.score)}%", *(f"{v:.0f}" for v in d.box)) for d in found]
        echo_table(("class", "score", "x0", "y0", "x1", "y1"), rows, left=(0,))


def note_drawings(files: Sequence[Path], output: Path) -> list[Path]:
    """Where the pictures are drawn to, held against each other and against what is there.

    Raises:
        DarkconvError: two pictures would be drawn into one file, or a file is in the way.
    """
    from darkconv.detection.draw import WRITABLE, is_drawing

    note_pictures(files)
    if len(files) == 1 and output.suffix.lower() in WRITABLE and not os.path.isdir(output):
        targets = [output]
    else:
        note_folder_use(output)
        targets = [output / drawing_name(file) for file in files]
    drawn: dict[Path, Path] = {}
    for file, target in zip(files, targets, strict=True):
        if target in drawn and drawn[target].resolve() == file.resolve():
            continue  # a picture that is given twice
        drawn[target] = file
        note_output(target, str(file), makes_folder=True)
        check_own(target, is_drawing)
    return targets


def drawing_name(file: Path) -> str:
    """A picture's own name, with a suffix that can be written."""
    from darkconv.detection.draw import WRITABLE

    return f"{file.stem}{file.suffix if file.suffix.lower() in WRITABLE else '.png'}"
