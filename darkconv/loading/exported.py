"""Open files that darkconv has written: read their arrays back, or run them.

Each function imports the framework that it needs, and none before.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from darkconv.core.model import Model
from darkconv.core.names import Names
from darkconv.darknet.data import decoded_names, read_names, tell_of_bytes
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike
from darkconv.loading.formats import (
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    ONE_WAY,
    ONNX_SUFFIX,
    PROGRAM_SUFFIX,
    RUNNABLE_SUFFIXES,
    SAFETENSORS_SUFFIX,
    is_checkpoint,
    suffix_of,
)

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import ForeignFile

READABLE = "NET.cfg NET.weights, or a file that ends in .safetensors, .keras or .onnx"
RUN_IT = (
    "detect and eval run it, verify compares it (dc.Detector, dc.evaluate and dc.verify in Python)"
)
"""A hint for a file that can be run but not read back."""


def read_arrays(
    path: PathLike,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    input_size: tuple[int, int] | None = None,
) -> Model:
    """Read a `.safetensors`, `.keras` or `.onnx` file back as the model that it was made from.

    Args:
        path: the file.
        names: file of class names that replace the file's own; None keeps those.
        names_encoding: encoding of the names file, or of the bytes in the file's own names; None
            for UTF-8.
        input_size: (width, height) of pictures in pixels; None for the file's own.

    Raises:
        DarkconvError: the file is damaged, darkconv did not write it, or it is of a format that
            does not hold Darknet's arrays.
        MissingDependencyError: PyTorch, Keras or onnx is not installed.
    """
    suffix = suffix_of(path)
    if suffix in ONE_WAY:
        raise _not_readable(path, suffix)
    model = READERS[suffix](path)
    model = replace(model, names=other_names(model.names, names, names_encoding, path))
    return model.with_input_size(*input_size) if input_size else model


def _not_readable(path: PathLike, suffix: str) -> DarkconvError:
    file = os.fspath(path)
    if suffix in RUNNABLE_SUFFIXES and not os.path.exists(file):
        return DarkconvError("no such file", where=Where(file=file))
    return DarkconvError(
        f"{file}: Darknet's arrays cannot be read back from {ONE_WAY[suffix]}",
        expected=READABLE,
        hint=RUN_IT if suffix in RUNNABLE_SUFFIXES else None,
    )


def open_exported(
    path: PathLike,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    input_size: tuple[int, int] | None = None,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> "ExportedFile":
    """Open a `.onnx`, `.tflite` or `.keras` file that darkconv has written, to run it.

    Args:
        path: the file, which holds its dialect, its thresholds and its way of fitting pictures.
        names: file of class names that replace the file's own; None keeps those.
        names_encoding: encoding of the names file, or of the bytes in the file's own names; None
            for UTF-8.
        input_size: (width, height) of pictures in pixels, where the file's size is free.
        device: device that an ONNX file runs on: see `darkconv.Detector`. Other files ignore it.
        threads: number of threads on the CPU, for ONNX and LiteRT files; None for one on each
            processor.
        runtime: program that runs an ONNX file: see `darkconv.Detector`.

    Raises:
        DarkconvError: the file is damaged, darkconv did not write it, it does not run, or its size
            is fixed; or a runtime was given for a file that is no ONNX file.
        MissingDependencyError: the library that runs the file is not installed.
    """
    suffix = suffix_of(path)
    if suffix not in RUNNERS:
        raise DarkconvError(
            f"{os.fspath(path)}: cannot be run",
            expected=f"a file that ends in {', '.join(RUNNERS)}",
        )
    file = RUNNERS[suffix](path, device, threads, runtime)
    file = replace(file, names=other_names(file.names, names, names_encoding, path))
    return file.with_input_size(*input_size) if input_size else file


def other_names(own: Names, path: PathLike | None, encoding: str | None, file: PathLike) -> Names:
    """Return the class names of an exported file, or those that replace them.

    Args:
        own: the names that the file holds.
        path: names file that replaces them; None keeps them.
        encoding: encoding of the names file, or of the bytes in the names that the file holds.
        file: the exported file.

    Raises:
        DatasetError: the names file cannot be read, or there is nothing to decode.
    """
    if path is not None:
        return read_names(path, encoding=encoding)
    if encoding is not None:
        return decoded_names(own, encoding, os.fspath(file))
    tell_of_bytes(own, Where(file=os.fspath(file)))
    return own


def _read_safetensors(path: PathLike) -> Model:
    from darkconv.backends import spoke

    model: Model = spoke("torch").read_safetensors(path)
    return model


def _read_keras(path: PathLike) -> Model:
    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import check_keras_file

    check_keras_file(path)
    keras = spoke("keras")
    model: Model = keras.from_keras(keras.read_keras(path))
    return model


def _read_onnx(path: PathLike) -> Model:
    from darkconv.backends import spoke

    model: Model = spoke("onnx").read_model(path)
    return model


READERS: dict[str, Callable[[PathLike], Model]] = {
    SAFETENSORS_SUFFIX: _read_safetensors,
    KERAS_SUFFIX: _read_keras,
    ONNX_SUFFIX: _read_onnx,
}
"""The function that reads a whole model, by suffix."""


def said_resize(path: PathLike) -> str | None:
    """Return how pictures are fitted to the input, as a file that is read as a model says it.

    A cfg cannot say it in every dialect, so the file is asked before its model is run.

    Args:
        path: any file.

    Returns:
        "stretch" or "letterbox"; None for files other than `.keras`.
    """
    if suffix_of(path) != KERAS_SUFFIX:
        return None
    from darkconv.backends.exported import parse_texts
    from darkconv.backends.keras_archive import DESCRIPTION, read_keras_archive

    return parse_texts(read_keras_archive(path)[DESCRIPTION]).get("resize")


def read_anything(path: PathLike) -> "ExportedFile | ForeignFile":
    """Open a file that can be run, whichever tool wrote it; other tools' files must be ONNX.

    Args:
        path: a `.onnx`, `.tflite` or `.keras` file.

    Raises:
        DarkconvError: the file is damaged, or is another tool's and no ONNX file.
        MissingDependencyError: the library that runs the file is not installed.
    """
    if suffix_of(path) in (LITERT_SUFFIX, KERAS_SUFFIX):
        return RUNNERS[suffix_of(path)](path, "cpu", None, None)
    if suffix_of(path) == PROGRAM_SUFFIX:
        return _open_program(path)
    if suffix_of(path) != ONNX_SUFFIX and is_checkpoint(path):
        raise DarkconvError(
            f"{os.fspath(path)}: is another tool's checkpoint, which holds no program to run",
            hint="convert NET.cfg FILE makes one of it",
        )
    from darkconv.backends import spoke

    file: ExportedFile | ForeignFile = spoke("onnx").read_any(path)
    return file


def refuse_runtime(path: PathLike, runtime: str | None) -> None:
    """Check that no runtime is given for a file that is no ONNX file.

    Args:
        path: a file that is no ONNX file.
        runtime: the runtime that was asked for; None for none.

    Raises:
        DarkconvError: a runtime is given.
    """
    if runtime is not None:
        expected = "None: it is about ONNX files"
        raise DarkconvError(
            "runtime", where=Where(file=os.fspath(path)), expected=expected, found=runtime
        )


def _open_onnx(
    path: PathLike, device: str, threads: int | None, runtime: str | None
) -> "ExportedFile":
    from darkconv.backends import spoke

    file: ExportedFile = spoke("onnx").read_onnx(
        path, shares_processors=True, device=device, threads=threads, runtime=runtime
    )
    return file


def _open_litert(
    path: PathLike, _: str, threads: int | None, runtime: str | None
) -> "ExportedFile":
    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import read_litert_texts

    refuse_runtime(path, runtime)
    read_litert_texts(path)
    file: ExportedFile = spoke("keras").read_litert(path, threads=threads)
    return file


def _open_keras(path: PathLike, _: str, __: int | None, runtime: str | None) -> "ExportedFile":
    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import check_keras_file

    refuse_runtime(path, runtime)
    check_keras_file(path)
    file: ExportedFile = spoke("keras").read_keras_file(path)
    return file


def _open_program(path: PathLike) -> "ExportedFile":
    from darkconv.backends import spoke
    from darkconv.backends.program_archive import read_program_archive

    read_program_archive(path)
    file: ExportedFile = spoke("torch").read_program(path)
    return file


RUNNERS: dict[str, Callable[[PathLike, str, int | None, str | None], "ExportedFile"]] = {
    ONNX_SUFFIX: _open_onnx,
    LITERT_SUFFIX: _open_litert,
    KERAS_SUFFIX: _open_keras,
}
"""The function that makes a file ready to run, by suffix."""
