"""`darkconv detect`: find objects in pictures."""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.console.files import InputFile, OutputFolder
from darkconv.console.printing import echo, echo_json, echo_json_line, echo_table
from darkconv.console.progress import frame_progress
from darkconv.console.values import SHARE
from darkconv.errors import DatasetError
from darkconv.files import make_folder
from darkconv.options.command import ModelCommand
from darkconv.options.detecting import detection_options, open_engine, running_options
from darkconv.options.params import READING_NAMES, model_options, split_model, words_argument

if TYPE_CHECKING:
    from darkconv.detection import Detections
    from darkconv.detection.clip import Clip
    from darkconv.detection.engine import Engine
    from darkconv.detection.sources import PictureSource
    from darkconv.detection.window import DisplayWindow

logger = logging.getLogger("darkconv")


@click.command(cls=ModelCommand)
@words_argument("MODEL SOURCE...")
@click.option(
    "-o",
    "--output",
    type=OutputFolder(file_okay=True),
    metavar="DIR|FILE",
    help="Folder, or file, for pictures with boxes; a file for a video with boxes.",
)
@click.option(
    "--font",
    type=InputFile(dir_okay=False, exists=True),
    metavar="FILE",
    help="Font of the labels that are drawn  [default: one that has their letters]",
)
@click.option("--show", is_flag=True, help="Show what is found in a window; q closes it.")
@click.option(
    "--every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Look at the first picture or frame, and then at each N-th.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead of a table; of videos a line each."
)
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
    show: bool,
    every: int,
    as_json: bool,
    batch: int,
    **options: Any,
) -> None:
    """Find objects in pictures and videos, and draw boxes.

    SOURCE is a picture, a folder of pictures, a pattern, a list or a data set; or a video file,
    the number of a camera, or an address such as rtsp://host/path. A picture that cannot be read is
    reported and skipped. Drawings have the pictures' names: two pictures of one name are refused,
    and so are files that darkconv has not drawn, which --overwrite replaces. Ctrl-C ends a video:
    what was drawn until then is a whole file. MODEL may also be an ONNX or LiteRT file of
    `darkconv convert`, with any --head.

    Example: darkconv detect yolov4.cfg yolov4.weights dog.jpg -o drawn
    """
    from darkconv.detection.video import is_video

    model_words, sources = split_model(words)
    if not sources:
        has_weights = model_words.is_exported or str(model_words.weights).endswith(".weights")
        hint = "" if has_weights else ": a MODEL is NET.cfg NET.weights, and pictures follow"
        raise click.UsageError(f"Missing argument 'SOURCE'{hint}")
    if font and not (output or show):
        raise click.UsageError("--font is for the labels that -o and --show draw")
    found_in = _in_video if any(map(is_video, sources)) else _in_pictures
    reading = {name: options.pop(name) for name in READING_NAMES}
    found_in(
        lambda: open_engine(model_words, options, reading),
        sources,
        Wishes(output, font, show, as_json),
        {"batch": batch, "every": every, "unreadable": "skip"},
    )


@dataclass(frozen=True)
class Wishes:
    """The forms in which detections are shown and written."""

    output: Path | None
    font: Path | None
    show: bool
    as_json: bool


def _in_pictures(
    engine: "Callable[[], Engine]", sources: list[str], wishes: Wishes, how: dict[str, Any]
) -> None:
    """Find objects in pictures; print, draw and show them."""
    from darkconv.detection.detector import listed
    from darkconv.detection.sources import list_pictures
    from darkconv.detection.stream import stream
    from darkconv.detection.targets import note_drawings
    from darkconv.pictures.drawing import write_picture

    files: list[Path] = list_pictures(sources)[:: how.pop("every")]
    targets = note_drawings(files, wishes.output) if wishes.output else []
    window = open_window(sources) if wishes.show else None
    opened = engine()
    results: list[dict[str, Any]] = []
    skipped: list[DatasetError] = []
    for frame in stream(opened, files, skipped=skipped, **how):
        found = listed(opened, frame).found
        results.append({"image": frame.source, **found.to_dict()})
        if not wishes.as_json:
            show_table(frame.source, found)
        if targets:
            target = targets[frame.index]
            make_folder(target.parent)
            write_picture(found.draw(frame.picture, font=wishes.font), target)
            echo(f"drew {target}", err=True)
        if window:
            window.show(found.draw(frame.picture, font=wishes.font))
            if not window.wait():
                break
    if wishes.as_json:
        echo_json(results + [{"image": one.where.file, "error": str(one)} for one in skipped])


def _in_video(
    engine: "Callable[[], Engine]", sources: list[str], wishes: Wishes, how: dict[str, Any]
) -> None:
    """Find objects in a video; print, draw and show them frame by frame."""
    from darkconv.detection.sources import open_source
    from darkconv.detection.targets import note_clip
    from darkconv.detection.watching import clip_of

    if len(sources) > 1:
        raise click.UsageError("a video, a camera or an address is looked at by itself")
    every = how.pop("every")
    target = note_clip(sources[0], wishes.output) if wishes.output else None
    window = open_window(sources) if wishes.show else None
    opened = engine()
    source = open_source(sources[0], every=every, unreadable="skip")
    (video,) = source.videos
    clip: Clip | None = None
    try:
        with clip_of(video, target, every=every) as clip:
            _watch(opened, source, wishes, how, clip=clip, window=window)
    except KeyboardInterrupt:  # the video that was drawn until then is whole
        tell_drawn(target if clip and clip.count else None)
        if not video.is_live:
            raise
    else:
        tell_drawn(target)


def _watch(
    engine: "Engine", source: "PictureSource", wishes: Wishes, how: dict[str, Any], **drawing: Any
) -> None:
    """Print the detections of a video until it ends, the user stops, or the window is closed."""
    from darkconv.detection.tables import frame_line
    from darkconv.detection.watching import watch

    name = source.videos[0].name
    start, count = time.monotonic(), 0
    is_quiet = wishes.as_json or any(drawing.values())
    watching = frame_progress(source.count, f"detecting in {name}")
    try:
        with watching if is_quiet else contextlib.nullcontext(lambda _: None) as update:
            frames = watch(engine, source, font=wishes.font, **drawing, **how)
            for count, frame in enumerate(frames, 1):
                if wishes.as_json:
                    echo_json_line(frame.to_dict())
                elif not is_quiet:
                    echo(frame_line(frame))
                update(count)
    finally:
        rate = count / max(time.monotonic() - start, 1e-9)
        echo(f"{name}: {count} frames, {rate:.1f} per second", err=True)


def tell_drawn(target: Path | None) -> None:
    """Print the path of a video that was drawn.

    Args:
        target: path of the video; None if nothing was drawn.
    """
    if target:
        echo(f"drew {target}", err=True)


def open_window(sources: Sequence[str]) -> "DisplayWindow":
    """Open a window.

    Args:
        sources: the sources as the user gave them; the first is in the window's title.

    Raises:
        DarkconvError: there is no screen.
    """
    from darkconv.detection.window import DisplayWindow

    return DisplayWindow(f"darkconv: {sources[0]}")


def show_table(name: str, found: "Detections") -> None:
    """Print a table of a picture's detections.

    Args:
        name: file name of the picture.
        found: its detections.
    """
    from darkconv.detection.tables import OF_BOXES, box_rows

    echo(f"{name}: {len(found)} found")
    if found:
        echo_table(OF_BOXES, box_rows(found), left=(0,))
