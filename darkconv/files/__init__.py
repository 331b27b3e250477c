"""Files: written whole or not at all, temporary files, archives, and a run's inputs and outputs."""

from darkconv.files.writing import (
    Chunks,
    PathLike,
    check_saved_model,
    filling_folder,
    is_utf8,
    make_folder,
    no_room,
    replacing,
    replacing_folder,
    scratch_folder,
    take_names,
    write_bytes,
    write_together,
    writing,
)

__all__ = [
    "Chunks",
    "PathLike",
    "check_saved_model",
    "filling_folder",
    "is_utf8",
    "make_folder",
    "no_room",
    "replacing",
    "replacing_folder",
    "scratch_folder",
    "take_names",
    "write_bytes",
    "write_together",
    "writing",
]
