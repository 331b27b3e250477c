"""Files of an evaluation: detections for other tools, and drawings."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.encodings import encoded
from darkconv.files import PathLike, make_folder, write_bytes
from darkconv.files.outputs import check_own, note_output

if TYPE_CHECKING:
    from darkconv.evaluation.result import BoxEvaluation

CURVES, CONFUSION = "precision-recall.png", "confusion.png"
"""In the output folder, beside the text files."""
DETECTION = re.compile(r".+ \d\.\d{6}( -?\d+\.\d{3}){4}")
"""A line of a text file of detections."""


def note_files(images: Sequence[Path], folder: Path, *, plots: bool) -> None:
    """Tell of the files that are going to be in a folder.

    Args:
        images: the pictures, each of which gets a text file.
        folder: where the files go.
        plots: curves and confusions are drawn, too.

    Raises:
        DarkconvError: two pictures would have one text file, or a file is in the way.
    """
    for image in images:
        target = text_file(folder, image)
        note_output(target, str(image), makes_folder=True)
        check_own(target, holds_detections)
    for name in (CURVES, CONFUSION) if plots else ():
        note_output(folder / name, makes_folder=True)


def text_file(folder: Path, image: Path) -> Path:
    """Return the file of a picture's detections."""
    return folder / f"{image.stem}.txt"


def holds_detections(path: PathLike) -> bool:
    """Return True if a text file can be one of `write_detections`; an empty one tells of none."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return all(DETECTION.fullmatch(line.rstrip("\n")) for line in file)
    except OSError:
        return False


def write_detections(result: "BoxEvaluation", folder: Path) -> None:
    """Write a text file for each picture, in the form that the common toolkits read."""
    make_folder(folder)
    for image, detections in zip(result.pictures, result.found, strict=True):
        lines = [
            f"{d.name} {d.score:.6f} {' '.join(f'{value:.3f}' for value in d.box)}\n"
            for d in detections
        ]
        write_bytes(text_file(folder, image), [encoded("".join(lines))])


def write_plots(result: "BoxEvaluation", folder: Path) -> None:
    """Draw the curves and the confusion matrix into a folder.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    from darkconv.evaluation.plots import draw_confusion, draw_curves
    from darkconv.report.figure import write_figure

    comparison = result.comparison
    figures = {
        CURVES: draw_curves(comparison.classes, comparison.judged, at=result.at),
        CONFUSION: draw_confusion(comparison.confusion(result.at)),
    }
    for name, figure in figures.items():
        write_figure(figure, folder / name)
