"""The libraries that only some tasks need, and the extra that brings each."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from darkconv.errors import MissingDependencyError

EXTRAS = {
    **dict.fromkeys(("PIL", "yaml"), "images"),
    **dict.fromkeys(("torch", "safetensors"), "torch"),
    **dict.fromkeys(("onnx", "onnx_ir", "onnxruntime"), "onnx"),
    **dict.fromkeys(("keras", "tensorflow", "h5py", "ai_edge_litert"), "keras"),
    **dict.fromkeys(("lightning", "faster_coco_eval", "tensorboard"), "train"),
    **dict.fromkeys(("pooch", "requests"), "fetch"),
    "matplotlib": "plots",
    "netron": "view",
}
"""Extras by the name that is imported."""


def require(*names: str, task: str, extra: str | None = None) -> None:
    """Raise before a task begins where a library that it needs is not installed.

    Args:
        names: of the libraries, keys of `EXTRAS`.
        task: in the message.
        extra: that brings all of them; by default the first missing one's own.

    Raises:
        MissingDependencyError: one is not installed.
    """
    for name in names:
        if not is_installed(name):
            raise MissingDependencyError(name, extra=extra or EXTRAS[name], task=task)


def is_installed(name: str) -> bool:
    """Return True if a library can be found; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def telling_missing(task: str, extra: str | None = None) -> Iterator[None]:
    """Name the extra where an import in the block fails for a library that is not installed.

    Args:
        task: in the message.
        extra: that brings all that the task needs; by default the library's own.

    Raises:
        MissingDependencyError: such an import failed; other errors go on as they are.
    """
    try:
        yield
    except MissingDependencyError:
        raise
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in EXTRAS:
            raise
        raise MissingDependencyError(name, extra=extra or EXTRAS[name], task=task) from error
