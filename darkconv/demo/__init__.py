"""Tell the story of `darkconv demo`: what it makes, measures and shows."""

from pathlib import Path

from darkconv.files.outputs import check_belongs, note_output

KEPT = ("two", "four", "seven", "nine")
"""The digits that the small model keeps."""
FILES = (
    "digits10.safetensors", "digits10.onnx", "back.cfg", "back.weights", "back.names",
    "detected.png", "digits4.cfg", "digits4.weights", "digits4.names", "digits4.onnx",
    "refitted.cfg", "refitted.weights", "refitted.names", "dissection.html", "recovered.cfg",
    "recovered.weights", "recovered.names", "recovered.onnx", "before-and-after.png", "demo.html",
)  # fmt: skip
"""Names of the files in the demo's folder, in the order in which they are made."""
RECOVERY = "recovery"
"""Name of the training's folder in the demo's folder."""


def note_files(folder: Path) -> None:
    """Register all files of the demo, which replace those of an earlier demo.

    Args:
        folder: the demo's folder.

    Raises:
        DarkconvError: a file that no demo made is in the way.
    """
    for name in FILES:
        check_belongs(folder / name, folder / FILES[0])
        note_output(folder / name, makes_folder=True)
    check_belongs(folder / RECOVERY, folder / FILES[0])
