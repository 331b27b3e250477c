"""Other tools' checkpoints become Darknet models: files that follow a cfg."""

from darkconv.imports.differences import REORGS
from darkconv.imports.importing import import_weights, read_checkpoint
from darkconv.imports.opening import SUFFIXES, is_checkpoint, is_foreign
from darkconv.imports.record import Imported

__all__ = [
    "REORGS",
    "SUFFIXES",
    "Imported",
    "import_weights",
    "is_checkpoint",
    "is_foreign",
    "read_checkpoint",
]
