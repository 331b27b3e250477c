"""`darkconv detect`: objects in pictures."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.models import read_exported, read_model
from darkconv.cli.params import (
    F,
    ModelCommand,
    ModelWords,
    model_options,
    split_model,
    words_argument,
)
from darkconv.cli.table import format_table
from darkconv.errors import DarkconvError, DatasetError

if TYPE_CHECKING:
    from darkconv.detection import Detection

    Finder = Callable[[Path], list[Detection]]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def detection_options(command: F) -> F:
    """How boxes are found, as `darkconv.detect` takes it."""
    options = (
        click.option(
            "--nms",
            type=float,
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
            help="How pictures are fitted  [default: as the dialect and letter_box= say]",
        ),
        click.option(
            "--backend",
            type=click.Choice(["torch", "onnx", "keras"]),
            help="What runs a model; ONNX and LiteRT files run by themselves  [default: torch]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=ModelCommand)
@words_argument("MODEL IMAGE...")
@click.option("-o", "--output", metavar="DIR", help="Folder, or file, for pictures with boxes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--threshold", type=float, help="Least score  [default: 0.25, or what an ONNX file says]"
)
@detection_options
@model_options
def detect(
    words: tuple[str, ...],
    output: str | None,
    as_json: bool,
    names: str | None,
    dialect: str,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Find objects in pictures and draw boxes.

    IMAGE is a file or a folder of pictures. A picture that cannot be read is reported and
    skipped. MODEL may also be an ONNX or LiteRT file of `darkconv convert`, with any --head.

    Example: darkconv detect yolov4.cfg yolov4.weights dog.jpg -o drawn
    """
    model_words, images = split_model(words)
    if not images:
        has_weights = model_words.is_exported or str(model_words.weights).endswith(".weights")
        hint = "" if has_weights else ": a MODEL is NET.cfg NET.weights, and pictures follow"
        raise click.UsageError(f"Missing argument 'IMAGE'{hint}")
    find = finder(model_words, options, names=names, dialect=dialect, input_size=input_size)
    results, failed = [], 0
    files = picture_files(images)
    for file in files:
        try:
            found = find(file)
        except DatasetError as error:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            failed += 1
            continue
        results.append({"image": str(file), "detections": [asdict(entry) for entry in found]})
        if not as_json:
            show(file, found)
        if output:
            click.echo(f"drew {draw_into(file, found, output, single=len(files) == 1)}", err=True)
    if as_json:
        click.echo(json.dumps(results, indent=2))
    if failed:
        raise DarkconvError(f"{failed} of {len(files)} pictures could not be read")


def finder(words: ModelWords, options: dict[str, Any], **reading: Any) -> "Finder":
    """A function from a picture to what MODEL finds in it.

    Args:
        words: MODEL.
        options: for `darkconv.detect`; None for its defaults.
        reading: how to read the model.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if words.is_runnable:
        from darkconv.detection.exported import detect_exported

        check_runs_itself(words, given.get("backend"))
        return partial(detect_exported, read_exported(words, **reading), **given)
    from darkconv.detection import detect as find

    return partial(find, read_model(words, **reading), **given)


def check_runs_itself(words: ModelWords, backend: str | None) -> None:
    """Raise a usage error for a backend of a file that needs none."""
    if words.is_runnable and backend:
        raise click.UsageError(f"--backend is about models: {words.first} runs by itself")


def picture_files(images: Sequence[str]) -> list[Path]:
    """The pictures that files and folders name.

    Raises:
        DatasetError: a folder without pictures.
    """
    files: list[Path] = []
    for image in map(Path, images):
        if not image.is_dir():
            files.append(image)
            continue
        inside = sorted(p for p in image.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not inside:
            raise DatasetError(f"{image}: holds no pictures")
        files += inside
    return files


def show(file: Path, found: "list[Detection]") -> None:
    """Print a table of one picture's detections."""
    click.echo(f"{file}: {len(found)} found")
    if found:
        rows = [(d.name, f"{d.score:.3f}", *(f"{v:.0f}" for v in d.box)) for d in found]
        click.echo(format_table(("class", "score", "x0", "y0", "x1", "y1"), rows, left=(0,)))


def draw_into(file: Path, found: "list[Detection]", output: str, *, single: bool) -> Path:
    """Draw boxes into a copy of a picture, in a folder or under a file's name."""
    from darkconv.detection.draw import WRITABLE, draw, write_picture
    from darkconv.detection.picture import read_picture

    target = Path(output)
    if not (single and target.suffix.lower() in WRITABLE):
        target.mkdir(parents=True, exist_ok=True)
        suffix = file.suffix if file.suffix.lower() in WRITABLE else ".png"
        target = target / f"{file.stem}{suffix}"
    if target.resolve() == file.resolve():
        raise DarkconvError(f"{target}: would overwrite the picture itself")
    write_picture(draw(read_picture(file), found), target)
    return target
