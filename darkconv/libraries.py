"""List the optional libraries: the tasks that need them, and the first versions that work.

`tests/test_libraries.py` checks this table and setup.cfg against each other, and
`tools/test --lowest` tests with exactly these versions.
"""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from darkconv.errors import DarkconvError, MissingDependencyError


@dataclass(frozen=True)
class Library:
    """A library that darkconv uses.

    Attributes:
        minimum: the first version that works.
        extra: darkconv's extra that installs it; None if it is always installed.
        packages: names of the library on PyPI, the usual one first.
    """

    minimum: str
    extra: str | None
    packages: tuple[str, ...]

    @property
    def installed(self) -> str | None:
        """Return the version that is installed; None if there is none."""
        from importlib import metadata  # this import takes longer than darkconv's help

        for package in self.packages:
            try:
                return metadata.version(package)
            except metadata.PackageNotFoundError:
                continue
        return None

    def is_older(self, version: str) -> bool:
        """Return True if a version is older than the first one that works.

        Args:
            version: a version of this library, such as "2.6.0+cpu".
        """
        return _numbers(version) < _numbers(self.minimum)


LIBRARIES = {
    "numpy": Library("1.26", None, ("numpy",)),
    "click": Library("8.2", None, ("click",)),
    "rich": Library("13", None, ("rich",)),
    "PIL": Library("10.1", "images", ("pillow",)),
    "yaml": Library("6.0.1", "images", ("PyYAML",)),
    "torch": Library("2.13", "torch", ("torch",)),
    "safetensors": Library("0.4", "torch", ("safetensors",)),
    "onnx": Library("1.16", "onnx", ("onnx",)),
    "onnx_ir": Library("0.1.10", "onnx", ("onnx-ir",)),
    "onnxruntime": Library("1.19", "onnx", ("onnxruntime", "onnxruntime-gpu")),
    "coremltools": Library("9.0", "coreml", ("coremltools",)),
    "openvino": Library("2025.0", "openvino", ("openvino",)),
    "ncnn": Library("1.0.20261020", "ncnn", ("ncnn",)),
    "pnnx": Library("20261020", "ncnn", ("pnnx",)),
    "h5py": Library("3.12", "h5", ("h5py",)),
    "keras": Library("3.11", "keras", ("keras",)),
    "tensorflow": Library("2.19", "keras", ("tensorflow-cpu", "tensorflow")),
    "ai_edge_litert": Library("1.2", "keras", ("ai-edge-litert",)),
    "faster_coco_eval": Library("1.6", "train", ("faster-coco-eval",)),
    "lightning": Library("2.6", "train", ("lightning",)),
    "tensorboard": Library("2.19", "train", ("tensorboard",)),
    "av": Library("14", "video", ("av",)),
    "matplotlib": Library("3.7", "plots", ("matplotlib",)),
    "netron": Library("7.8.6", "view", ("netron",)),
    "requests": Library("2.31", "fetch", ("requests",)),
}
"""The libraries by their names in import statements."""
EXTRAS = {name: one.extra for name, one in LIBRARIES.items() if one.extra}
"""The extras of libraries that only some tasks need, by their names in import statements."""


def require(*names: str, task: str, extra: str | None = None) -> None:
    """Raise an error before a task begins if a library that it needs is not installed.

    Args:
        names: names of the libraries, keys of `EXTRAS`.
        task: name of the task, for the message.
        extra: the extra that installs all of them; None for that of the first missing one.

    Raises:
        MissingDependencyError: a library is not installed.
    """
    for name in names:
        if not is_installed(name):
            raise MissingDependencyError(name, extra=extra or EXTRAS[name], task=task)


def is_installed(name: str) -> bool:
    """Return True if a library can be found; it is not imported.

    Args:
        name: name of the library in import statements.
    """
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def telling_missing(task: str, *, extra: str | None = None) -> Iterator[None]:
    """Explain why an import in this block fails: a library is missing, too old or broken.

    Args:
        task: the task that needs the libraries.
        extra: darkconv's extra that installs the libraries that `LIBRARIES` does not list.

    Yields:
        Nothing.

    Raises:
        MissingDependencyError: a library is not installed, or too old.
        DarkconvError: a library is installed, but cannot be imported.
    """
    try:
        yield
    except MissingDependencyError:
        raise
    except ImportError as error:
        explain(error, task, extra=extra)


def explain(error: ImportError, task: str, *, extra: str | None = None) -> NoReturn:
    """Raise the error that explains a failed import, or the error itself if it is darkconv's own.

    Args:
        error: the error of the import.
        task: the task that needs the library.
        extra: darkconv's extra that installs a library that `LIBRARIES` does not list.

    Raises:
        MissingDependencyError: the library is not installed, or too old.
        DarkconvError: the library is installed, but cannot be imported.
        ImportError: the error names no library, or darkconv.
    """
    name = (error.name or "").partition(".")[0]
    if name in ("", "darkconv"):
        raise error
    library = LIBRARIES.get(name) or Library("0", EXTRAS.get(name), (name,))
    brings, installed = library.extra or extra, library.installed
    if installed is not None and library.is_older(installed):
        versions = {"installed": installed, "minimum": library.minimum}
        raise MissingDependencyError(name, extra=brings, task=task, **versions) from error
    if isinstance(error, ModuleNotFoundError) and (error.name == name or not is_installed(name)):
        raise MissingDependencyError(name, extra=brings, task=task) from error
    version = f" {installed}" if installed else ""
    raise DarkconvError(
        f"{task} needs {name}; {name}{version} is installed and cannot be imported: {error}",
        hint=f"pip install --force-reinstall {library.packages[0]}",
    ) from error


def too_old() -> list[str]:
    """Return a line for each library that is installed but too old."""
    lines = []
    for name, library in LIBRARIES.items():
        installed = library.installed
        if installed is not None and library.is_older(installed):
            lines.append(f"{name} {installed} is installed; darkconv needs {library.minimum}")
    return lines


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version without trailing zeros: (2, 6) for 2.6.0+cpu."""
    release = re.match(r"[\d.]*", version)
    numbers = [int(part) for part in (release[0] if release else "").split(".") if part]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)
