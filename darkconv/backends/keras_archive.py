"""Checks of Keras files from unknown sources, made before Keras reads them.

A .keras file is a zip archive. Its config.json names by module and name the classes that Keras
makes objects of, so that a file could call any code. Only layers and operations of Keras itself are
accepted here, and of those none that runs code, unpickles data or reads further files.
"""

import json
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from darkconv.backends.exported import parse_texts
from darkconv.darknet.description import read_description
from darkconv.errors import DarkconvError, Where, shortened
from darkconv.files import PathLike
from darkconv.files.archive import Archive, ArchiveError, open_archive

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
DESCRIPTION = "darkconv.json"
SPARE = "darkconv_spare.npz"
HDF5 = b"\x89HDF\r\n\x1a\n"
LEAST_LIMIT, GROWTH = 1 << 26, 4
"""Limit of the unpacked members: the larger of so many bytes and so many times the file's size.

Keras itself does not compress its files.
"""
MODULES = (
    "keras.layers",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.activations",
    "keras.losses",
    "keras.metrics",
)
PACKAGES = ("keras.optimizers", "keras.src.ops")
MODELS = {
    ("keras", "DTypePolicy"),
    ("keras", "Functional"),
    ("keras", "Sequential"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.models.sequential", "Sequential"),
    ("builtins", "function"),
}
PLAIN = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
PLAIN |= {"__tuple__"}
"""Values, not classes, that have a class's place in the config."""
REFUSED = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
REFUSED |= {"StringLookup", "IntegerLookup", "TextVectorization"}
"""Layers that run code from a file, or read further files."""


def check_keras_file(path: PathLike) -> None:
    """Check a file of `write_keras`, without importing Keras.

    Args:
        path: the .keras file.

    Raises:
        DarkconvError: the file is damaged, could run code, or was not written by darkconv.
    """
    where = Where(file=os.fspath(path))
    members = read_keras_archive(path)
    if DESCRIPTION not in members:
        raise DarkconvError("has no cfg in it: darkconv did not write it", where=where)
    try:
        text = parse_texts(members[DESCRIPTION])
    except (ValueError, RecursionError) as error:
        raise DarkconvError(f"damaged: {error}", where=where) from error
    read_description(text, where)


def read_litert_texts(path: PathLike) -> dict[str, str]:
    """Return the metadata of a LiteRT file, from the zip archive at its end.

    Args:
        path: the .tflite file.

    Raises:
        DarkconvError: the file cannot be read, or has no such metadata.
    """
    where = Where(file=os.fspath(path))
    try:
        with open_archive(path, most=LEAST_LIMIT) as archive:
            texts = parse_texts(archive.read(DESCRIPTION))
    except FileNotFoundError:
        raise DarkconvError("no such file", where=where) from None
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except (ValueError, RecursionError) as error:
        raise DarkconvError(
            "has no cfg in its metadata: darkconv did not write it, or it is cut short",
            where=where,
        ) from error
    read_description(texts, where)
    return texts


def read_keras_archive(path: PathLike) -> dict[str, bytes]:
    """Return the contents of the members that darkconv added to a .keras file, by name.

    The whole file is checked first.

    Args:
        path: the .keras file.

    Raises:
        DarkconvError: it is not a Keras file, is damaged, or names a class that is not allowed.
    """
    where = Where(file=os.fspath(path))
    try:
        most = max(LEAST_LIMIT, GROWTH * os.path.getsize(path))
        with open_archive(path, most=most) as archive:
            _check_members(archive)
            _check_config(archive)
            return {
                name: archive.read(name) for name in (DESCRIPTION, SPARE) if name in archive.members
            }
    except FileNotFoundError:
        raise DarkconvError("no such file", where=where) from None
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except ArchiveError as error:
        raise DarkconvError(f"cannot be read as a Keras model: {error}", where=where) from error


def _check_members(archive: Archive) -> None:
    for name in archive.members:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ArchiveError(f"its member {shortened(name)} lies outside of it")
    for name in (CONFIG, WEIGHTS):
        if name not in archive.members:
            raise ArchiveError(f"has no member {name}")
    if archive.start(WEIGHTS, len(HDF5)) != HDF5:
        raise ArchiveError(f"its {WEIGHTS} is no HDF5 file")


def _check_config(archive: Archive) -> None:
    """Raise an ArchiveError for classes that a model of stock layers does not need."""
    try:
        config = json.loads(archive.read(CONFIG))
        found = list(_classes(config))
    except ArchiveError:
        raise
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"its {CONFIG} is no JSON") from error
    for module, name in found:
        if not _is_harmless(module, name):
            what = f"{module}.{name}" if module else f"{name}"
            raise ArchiveError(
                f"its {CONFIG} names {shortened(what)}, which is none of Keras's plain layers; "
                "code is never run from a file"
            )


def _classes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the module and the name of every class that Keras would make an object of."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value.get("module"), value["class_name"]
        for part in value.values():
            yield from _classes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _classes(part)


def _is_harmless(module: Any, name: Any) -> bool:
    if module is None:
        return isinstance(name, str) and name in PLAIN
    if not isinstance(module, str) or not isinstance(name, str) or name in REFUSED:
        return False
    is_inside = any(module == package or module.startswith(f"{package}.") for package in PACKAGES)
    return module in MODULES or is_inside or (module, name) in MODELS
