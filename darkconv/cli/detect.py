"""`darkconv detect`: objects in pictures."""

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import InputFile, OutputFolder
from darkconv.cli.models import read_exported, read_model
from darkconv.cli.params import (
    SHARE,
    F,
    ModelCommand,
    ModelWords,
    model_options,
    split_model,
    words_argument,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.errors import DatasetError
from darkconv.files import make_folder
from darkconv.files.outputs import check_own, note_folder_use, note_output, note_pictures
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    from darkconv.detection import Detection
    from darkconv.detection.detector import Detector

logger = logging.getLogger("darkconv")


def detection_options(command: F) -> F:
    """How boxes are found, as `darkconv.detect` takes it."""
    options = (
        click.option(
            "--nms",
            type=SHARE,
            help="Overlap that counts as the same  [default: 0.45, or what an ONNX file says]",
        ),
        click.option(
            "--nms-kind",
            type=click.Choice(["sort", "obj", "greedynms", "diounms", "cornersnms"]),
            help="Kind of suppression  [default: the cfg's]",
        ),
        click.option(
            "--resize",
            type=click.Choice(["stretch", "letterbox"]),
            help="How pictures are fitted  [default: as an exported file says, or else the dialect "
            "and letter_box=]",
        ),
        click.option(
            "--backend",
            type=click.Choice(["torch", "onnx", "keras"]),
            help="What runs a model; ONNX and LiteRT files run by themselves  [default: torch]",
        ),
        click.option(
            "--exact/--no-exact",
            default=None,
            help="JPEG files with Darknet's very levels, or by libjpeg, which is ten times as "
            "quick and up to 3 of 255 levels off  [default: exact]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


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
@model_options
def detect(
    words: tuple[str, ...],
    output: Path | None,
    font: Path | None,
    as_json: bool,
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
    from darkconv.detection.detect import shown
    from darkconv.detection.detector import detect_files

    files = picture_files(images)
    targets = note_drawings(files, output) if output else []
    detector = open_detector(
        model_words,
        options,
        names=names,
        names_encoding=names_encoding,
        dialect=dialect,
        input_size=input_size,
        allow_nonfinite=allow_nonfinite,
    )
    results, failed = [], 0
    for number, (file, found) in enumerate(zip(files, detect_files(detector, files), strict=True)):
        if isinstance(found, DatasetError):
            if len(files) == 1:
                raise found
            logger.warning("%s: skipped", found)
            failed += 1
            continue
        listed = shown(detector.source, found)
        entries = [asdict(entry) for entry in listed]
        hidden = len(found) - len(listed)
        results.append({"image": str(file), "detections": entries, "hidden": hidden})
        if not as_json:
            show(file, listed)
        if output:
            draw_into(targets[number], file, listed, font=font)
            echo(f"drew {targets[number]}", err=True)
    if failed == len(files):
        raise DatasetError(f"none of {failed} pictures could be read")
    if as_json:
        echo_json(results)
    if failed:
        logger.warning("%d of %d pictures could not be read", failed, len(files))


def open_detector(words: ModelWords, options: dict[str, Any], **reading: Any) -> "Detector":
    """What finds objects with MODEL.

    Args:
        words: MODEL.
        options: for `ModelDetector` or `FileDetector`; None for their defaults.
        reading: how to read the model.
    """
    from darkconv.detection.detector import ModelDetector
    from darkconv.detection.exported import FileDetector

    given = {name: value for name, value in options.items() if value is not None}
    if words.is_runnable:
        check_runs_itself(words, given.get("backend"))
        return FileDetector(read_exported(words, **reading), **given)
    return ModelDetector(read_model(words, **reading), **given)


def check_runs_itself(words: ModelWords, backend: str | None) -> None:
    """Raise a usage error for a backend of a file that needs none."""
    if words.is_runnable and backend:
        raise click.UsageError(f"--backend is about models: {words.first} runs by itself")


def picture_files(images: Sequence[str]) -> list[Path]:
    """The pictures that files and folders name.

    Raises:
        DatasetError: a folder without pictures.
    """
    from darkconv.detection.image_file import is_picture

    files: list[Path] = []
    for image in map(Path, images):
        if not os.path.isdir(image):
            files.append(image)
            continue
        inside = sorted(filter(is_picture, image.iterdir()))
        if not inside:
            raise DatasetError(f"{image}: holds no pictures")
        files += inside
    return files


def show(file: Path, found: "list[Detection]") -> None:
    """Print a table of one picture's detections."""
    echo(f"{file}: {len(found)} found")
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


def draw_into(
    target: Path, file: Path, found: "list[Detection]", *, font: Path | None = None
) -> None:
    """Draw boxes into a copy of a picture."""
    from darkconv.detection.draw import draw, write_picture
    from darkconv.detection.picture import read_picture

    make_folder(target.parent)
    write_picture(draw(read_picture(file), found, font=font), target)
