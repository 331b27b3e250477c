"""Choose the files that pictures and videos are drawn into, and check that none is in the way."""

import os
from collections.abc import Sequence
from pathlib import Path

from darkconv.detection.clip import CODECS, is_clip, is_writable
from darkconv.errors import DarkconvError
from darkconv.files.outputs import check_own, note_folder_use, note_output, note_pictures
from darkconv.pictures.drawing import WRITABLE, is_drawing
from darkconv.pictures.image_file import SUFFIXES


def note_drawings(files: Sequence[Path], output: Path) -> list[Path]:
    """Return the files that pictures are drawn into, after checking that none is in the way.

    Args:
        files: the pictures that are read, which no drawing may replace.
        output: the file for a single picture, or the folder for all.

    Returns:
        One path for each picture.

    Raises:
        DarkconvError: two pictures would be drawn into one file, another file is in the way, or the
            output has the name of a file that cannot be drawn.
    """
    note_pictures(files)
    if len(files) == 1 and output.suffix.lower() in WRITABLE and not os.path.isdir(output):
        targets = [output]
    else:
        _check_folder(output, len(files))
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


def _check_folder(output: Path, count: int) -> None:
    """Raise DarkconvError if a folder would have the name of a picture or a video."""
    suffix = output.suffix.lower()
    if suffix not in (*SUFFIXES, *CODECS) or os.path.isdir(output):
        return
    if suffix in WRITABLE:
        raise DarkconvError(
            f"{output}: is the name of one picture, for {count} drawings",
            hint="without a suffix it names a folder for them",
        )
    expected = f"a folder, or a name that ends in {', '.join(WRITABLE)}"
    raise DarkconvError(f"{output}: pictures are drawn into pictures", expected=expected)


def drawing_name(file: Path) -> str:
    """Return a picture's own name, with the suffix .png if its own cannot be written.

    Args:
        file: the path of the picture that is drawn into.
    """
    return f"{file.stem}{file.suffix if file.suffix.lower() in WRITABLE else '.png'}"


def note_clip(source: str, output: Path) -> Path:
    """Return the file that a video is drawn into, after checking that none is in the way.

    Args:
        source: the video's file, camera or address.
        output: the file, or a folder for it.

    Raises:
        DarkconvError: the output is not the name of a video, or another file is in the way.
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
