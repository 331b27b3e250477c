"""Other tools' checkpoints become Darknet models: files that follow a cfg."""

from darkconv.imports.importing import import_weights, read_checkpoint
from darkconv.imports.opening import SUFFIXES, is_checkpoint
from darkconv.imports.record import Imported

__all__ = ["SUFFIXES", "Imported", "import_weights", "is_checkpoint", "read_checkpoint"]
