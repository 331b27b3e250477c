"""Models as files of other frameworks, as `darkconv convert` writes them."""

from darkconv.exporting.formats import (
    OPTIONS_BY_SUFFIX,
    WRITERS,
    size_of,
    write_file,
    written_files,
)
from darkconv.exporting.writing import Exported, export

__all__ = [
    "OPTIONS_BY_SUFFIX",
    "WRITERS",
    "Exported",
    "export",
    "size_of",
    "write_file",
    "written_files",
]
