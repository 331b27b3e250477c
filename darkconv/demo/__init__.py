"""The story of `darkconv demo`: what it makes, measures and shows."""

from pathlib import Path

from darkconv.files.outputs import check_belongs, note_output

KEPT = ("two", "four", "seven", "nine")
"""The digits of the small model."""
FILES = (
    "digits10.safetensors", "digits10.onnx", "back.cfg", "back.weights", "back.names",
    "detected.png", "digits4.cfg", "digits4.weights", "digits4.names", "digits4.onnx",
    "refitted.cfg", "refitted.weights", "refitted.names", "dissection.html", "recovered.cfg",
    "recovered.weights", "recovered.names", "recovered.onnx", "before-and-after.png", "demo.html",
)  # fmt: skip
"""In the demo's folder, the first one first."""
RECOVERY = "recovery"
"""The folder of the training, in the demo's."""


def note_files(folder: Path) -> None:
    """Tell of all files of the demo, which replaces those of an earlier one.

    Raises:
        DarkconvError: somebody else's file is in the way.
    """
    for name in FILES:
        check_belongs(folder / name, folder / FILES[0])
        note_output(folder / name, makes_folder=True)
    check_belongs(folder / RECOVERY, folder / FILES[0])
