"""Models from files of every format, and back to Darknet's own."""

from darkconv.loading.darknet import names_beside, read_trees
from darkconv.loading.exported import open_exported
from darkconv.loading.reading import check_arrays, find_cfg, load, read_model
from darkconv.loading.saving import save

__all__ = [
    "check_arrays",
    "find_cfg",
    "load",
    "names_beside",
    "open_exported",
    "read_model",
    "read_trees",
    "save",
]
