"""The formats of exported files, with their options and writers."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from darkconv.backends import spoke
from darkconv.backends.choices import FULL, HEADS
from darkconv.core.model import Model
from darkconv.errors import DarkconvError
from darkconv.loading.formats import (
    DARKNET_SUFFIXES,
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    ONNX_SUFFIX,
    PROGRAM_SUFFIX,
    SAFETENSORS_SUFFIX,
    SAVED_MODEL_SUFFIX,
    suffix_hint,
    suffix_of,
)

OPTIONS_BY_SUFFIX: Mapping[str, tuple[str, ...]] = {
    ONNX_SUFFIX: (
        "head", "layout", "pixels", "threshold", "nms", "threshold_inputs", "max_detections",
        "nms_op", "input", "dynamic", "fold", "resize", "check", "opset", "external", "in_place",
        "fp16", "int8", "calibrate", "calibration", "reduce_range", "int8_form", "min_agreement",
        "data", "compare",
    ),
    KERAS_SUFFIX: ("head", "fold_bn", "resize"),
    SAVED_MODEL_SUFFIX: ("head", "fold_bn"),
    LITERT_SUFFIX: (
        "head", "resize", "check", "fp16", "int8", "calibrate", "int8_form", "data", "compare",
    ),
    SAFETENSORS_SUFFIX: (),
    PROGRAM_SUFFIX: ("head",),
}  # fmt: skip
"""Names of the options of each format."""
HEADS_BY_SUFFIX: Mapping[str, tuple[str, ...]] = {
    ONNX_SUFFIX: HEADS,
    **dict.fromkeys((KERAS_SUFFIX, SAVED_MODEL_SUFFIX, LITERT_SUFFIX), ("raw", "boxes", "logits")),
    PROGRAM_SUFFIX: ("raw", "logits"),
}
"""Kinds of outputs of each format that has several."""
FORMS_BY_SUFFIX: Mapping[str, tuple[str, ...]] = {
    ONNX_SUFFIX: ("asymmetric", "symmetric"),
    LITERT_SUFFIX: (FULL,),
}
"""Forms of 8 bits of each format that has any."""
RUNNERS: Mapping[str, tuple[str, str]] = {
    ONNX_SUFFIX: ("onnxruntime", "run once in onnxruntime"),
    LITERT_SUFFIX: ("ai_edge_litert", "run once in LiteRT"),
}
"""Library that runs a file once before it gets its name, where installed, and the text that says
so."""


def write_file(model: Model, path: Path, **options: Any) -> int:
    """Write a model in the format of a path's suffix.

    Args:
        model: model to write.
        path: path of the file.
        options: options of `write_onnx`, `to_keras` or `write_litert`; other formats have none.

    Returns:
        How many output values are NaN when the file is run once; 0 where it is not run.

    Raises:
        DarkconvError: the suffix is unknown, or the writer raises it.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise unknown_format(path)
    return writer(model, path, **options) or 0


def options_of(suffix: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of some options that a format has.

    Args:
        suffix: suffix of the format, such as ".onnx".
        chosen: options by name.
    """
    known = OPTIONS_BY_SUFFIX.get(suffix, ())
    return {name: value for name, value in chosen.items() if name in known}


def unknown_format(path: Path) -> DarkconvError:
    """Return the error for a suffix that no format has.

    Args:
        path: path with that suffix.
    """
    return DarkconvError(
        f"{os.fspath(path)}: unknown format",
        expected=f"a name that ends in {', '.join(OPTIONS_BY_SUFFIX)}",
        hint="darkconv.save writes .cfg and .weights"
        if suffix_of(path) in DARKNET_SUFFIXES
        else suffix_hint(suffix_of(path), tuple(OPTIONS_BY_SUFFIX)),
    )


def written_files(path: Path, *, external: bool) -> tuple[Path, ...]:
    """Return the path of an exported file and, if there is one, that of the weights beside it.

    Args:
        path: path of the file.
        external: True if the weights of an ONNX file are in a file beside it.
    """
    is_beside = external and path.suffix.lower() == ONNX_SUFFIX
    return (path, spoke("onnx").data_path(path)) if is_beside else (path,)


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes.

    Args:
        path: path of the file or folder.
    """
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _write_onnx(model: Model, path: Path, **options: Any) -> int:
    missing: int = spoke("onnx").write_onnx(model, path, **options)
    return missing


def _write_safetensors(model: Model, path: Path) -> None:
    torch = spoke("torch")
    torch.write_safetensors(torch.to_torch(model), path)


def _write_program(model: Model, path: Path, **options: Any) -> None:
    torch = spoke("torch")
    torch.write_program(torch.to_torch(model), path, **options)


def _write_keras(model: Model, path: Path, **options: Any) -> None:
    keras = spoke("keras")
    keras.write_keras(keras.to_keras(model, **options), path)


def _write_saved_model(model: Model, path: Path, **options: Any) -> None:
    keras = spoke("keras")
    keras.write_saved_model(keras.to_keras(model, **options), path)


def _write_litert(model: Model, path: Path, **options: Any) -> int:
    missing: int = spoke("keras").write_litert(model, path, **options)
    return missing


WRITERS: dict[str, Callable[..., int | None]] = {
    ONNX_SUFFIX: _write_onnx,
    SAFETENSORS_SUFFIX: _write_safetensors,
    PROGRAM_SUFFIX: _write_program,
    KERAS_SUFFIX: _write_keras,
    SAVED_MODEL_SUFFIX: _write_saved_model,
    LITERT_SUFFIX: _write_litert,
}
"""Writer of each format, by suffix."""
