"""Where pictures and videos are drawn to, held against what is read and what is there."""

import os
from collections.abc import Sequence
from pathlib import Path

from darkconv.detection.clip import CODECS, is_clip, is_writable
from darkconv.errors import DarkconvError
from darkconv.files.outputs import check_own, note_folder_use, note_output, note_pictures
from darkconv.pictures.drawing import WRITABLE, is_drawing


def note_drawings(files: Sequence[Path], output: Path) -> list[Path]:
    """Where the pictures are drawn to, held against each other and against what is there.

    Raises:
        DarkconvError: two pictures would be drawn into one file, or a file is in the way.
    """
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
    return f"{file.stem}{file.suffix if file.suffix.lower() in WRITABLE else '.png'}"


def note_clip(source: str, output: Path) -> Path:
    """Where a video is drawn to, held against what is read and what is there.

    Raises:
        DarkconvError: the name is of no video, or a file is in the way.
    """
    if os.path.isfile(source):
        note_pictures([Path(source)])
    if not output.suffix or output.is_dir():
        note_folder_use(output)
        output = output / f"{Path(source).stem if os.path.isfile(source) else 'video'}.mp4"
    if not is_writable(output):
        expected = f"a name that ends in {', '.join(CODECS)}"
        raise DarkconvError(f"{output}: a video is drawn into a video", expected=expected)
    note_output(output, source, makes_folder=True)
    check_own(output, is_clip)
    return output
