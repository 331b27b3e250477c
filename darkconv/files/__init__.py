"""Files: whole or not at all, temporaries, archives, and which files a command reads and writes."""

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
