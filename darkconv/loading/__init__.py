"""Load models from files of every format, and save them as Darknet's own."""

from darkconv.loading.exported import open_exported
from darkconv.loading.reading import check_arrays, load, read_model
from darkconv.loading.saving import save

__all__ = ["check_arrays", "load", "open_exported", "read_model", "save"]
