"""Write the files of an evaluation: detections for other tools, and plots."""

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
"""Names of the plots in the output folder."""
DETECTION = re.compile(r".+ \d\.\d{6}( -?\d+\.\d{3}){4}")
"""A line of a text file of detections."""


def note_files(images: Sequence[Path], folder: Path, *, plots: bool) -> None:
    """Note the files that will be written into a folder, and check that none is in the way.

    Args:
        images: the pictures, each of which gets a text file.
        folder: the folder that the files go to.
        plots: True if the curves and the confusion matrix are drawn, too.

    Raises:
        DarkconvError: two pictures would have the same text file, or another file is in the way.
    """
    for image in images:
        target = text_file(folder, image)
        note_output(target, str(image), makes_folder=True)
        check_own(target, holds_detections)
    for name in (CURVES, CONFUSION) if plots else ():
        note_output(folder / name, makes_folder=True)


def text_file(folder: Path, image: Path) -> Path:
    """Return the path of the text file with a picture's detections.

    Args:
        folder: the folder of the text files.
        image: the picture.
    """
    return folder / f"{image.stem}.txt"


def holds_detections(path: PathLike) -> bool:
    """Return True if `write_detections` may have written a text file; an empty file counts.

    Args:
        path: the text file.
    """
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return all(DETECTION.fullmatch(line.rstrip("\n")) for line in file)
    except OSError:
        return False


def write_detections(result: "BoxEvaluation", folder: Path) -> None:
    """Write a text file for each picture, in the form that the common toolkits read.

    A line holds class name, score, and x0 y0 x1 y1 in pixels.

    Args:
        result: the evaluation of a detector.
        folder: the folder for the files, which is made where it is missing.
    """
    make_folder(folder)
    for image, detections in zip(result.pictures, result.found, strict=True):
        lines = [
            f"{d.name} {d.score:.6f} {' '.join(f'{value:.3f}' for value in d.box)}\n"
            for d in detections
        ]
        write_bytes(text_file(folder, image), [encoded("".join(lines))])


def write_plots(result: "BoxEvaluation", folder: Path) -> None:
    """Draw the precision-recall curves and the confusion matrix into a folder.

    Args:
        result: the evaluation of a detector.
        folder: the folder for the plots.

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
