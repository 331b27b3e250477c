"""export: a model as a file of another framework, as `darkconv convert` writes it."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darkconv.arguments import checked
from darkconv.backends import spoke
from darkconv.core.model import Model
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.libraries import is_installed
from darkconv.loading.formats import (
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    ONNX_SUFFIX,
    PROGRAM_SUFFIX,
    SAFETENSORS_SUFFIX,
    SAVED_MODEL_SUFFIX,
)

OPTIONS_BY_SUFFIX: Mapping[str, tuple[str, ...]] = {
    ONNX_SUFFIX: (
        "head", "pixels", "threshold", "nms", "threshold_inputs", "max_detections", "input",
        "dynamic", "fold", "resize", "check", "opset", "external", "in_place", "fp16",
    ),
    KERAS_SUFFIX: ("head", "fold_bn", "resize"),
    SAVED_MODEL_SUFFIX: ("head", "fold_bn"),
    LITERT_SUFFIX: ("head", "resize", "check", "fp16"),
    SAFETENSORS_SUFFIX: (),
    PROGRAM_SUFFIX: (),
}  # fmt: skip
"""Which options each format has."""
RUNNERS: Mapping[str, tuple[str, str]] = {
    ONNX_SUFFIX: ("onnxruntime", "run once in onnxruntime"),
    LITERT_SUFFIX: ("ai_edge_litert", "run once in LiteRT"),
}
"""What tries a file before it takes its name, where it is installed, and what is said of that."""


@dataclass(frozen=True)
class Exported:
    """What `export` has written.

    Attributes:
        files: the file that was asked for, and what lies beside it.
        size: bytes of all of them.
        checked: how the file was tried before it took its name; empty if it was not.
    """

    files: tuple[Path, ...]
    size: int
    checked: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {"files": list(map(str, self.files)), "size": self.size, "checked": self.checked}


@checked
def export(
    model: Model,
    path: PathLike,
    *,
    head: Literal["raw", "boxes", "nms"] | None = None,
    pixels: bool | None = None,
    threshold: float | None = None,
    nms: float | None = None,
    threshold_inputs: bool | None = None,
    max_detections: int | None = None,
    input: Literal["float32-nchw", "uint8-nhwc", "uint8-nhwc-bgr"] | None = None,
    dynamic: str | Iterable[str] | None = None,
    fold: bool | None = None,
    fold_bn: bool | None = None,
    resize: Literal["stretch", "letterbox"] | None = None,
    opset: int | None = None,
    external: bool | None = None,
    in_place: bool | None = None,
    fp16: bool | None = None,
    check: bool | None = None,
) -> Exported:
    """Write a model as a file of another framework; the suffix of the path says which.

    `.onnx`, `.keras`, `.savedmodel` (a folder), `.tflite`, `.safetensors` and `.pt2` are known.
    What is None has the format's default. 8 bits need pictures: see `darkconv convert --int8`.

    Example:
        dc.export(model, "net.onnx", head="boxes", dynamic="batch")

    Args:
        model: what to write.
        path: the file.
        head: outputs as Darknet's heads give them ("raw", the default), boxes and scores, or, in
            ONNX, what is left of them after non-maximum suppression (NMS).
        pixels: boxes in pixels of the input, not in 0..1. ONNX, with boxes and nms.
        threshold: least score, 0..1: a constant of the graph with nms, else what `detect` takes
            from the metadata. ONNX.
        nms: IoU of boxes that count as the same, 0..1, likewise.
        threshold_inputs: both are inputs of the graph, not constants. ONNX, with nms.
        max_detections: most per picture. ONNX, with nms.
        input: what pictures come as. ONNX.
        dynamic: axes of any length: "batch", "size", "batch,size" or "none". ONNX.
        fold: write batch norm into the weights (the default). ONNX.
        fold_bn: the same in Keras, where the default is not to.
        resize: how pictures will be fitted, which the file says.
        opset: version of ONNX's operators.
        external: weights in a file beside it, `net.onnx.data`. ONNX.
        in_place: weights where they are, in the model's .weights file. ONNX.
        fp16: half precision. ONNX and LiteRT.
        check: run the file once before it takes its name (the default). ONNX and LiteRT.

    Returns:
        What was written, and how it was tried.

    Raises:
        DarkconvError: an unknown suffix, an option that the format does not have, or a file that
            cannot be written or does not run.
        UnsupportedError: a layer that the framework cannot express.
        MissingDependencyError: the framework is not installed.
    """
    values = {
        "head": head, "pixels": pixels, "threshold": threshold, "nms": nms,
        "threshold_inputs": threshold_inputs, "max_detections": max_detections, "input": input,
        "dynamic": dynamic, "fold": fold, "fold_bn": fold_bn, "resize": resize, "opset": opset,
        "external": external, "in_place": in_place, "fp16": fp16, "check": check,
    }  # fmt: skip
    target = Path(path)
    given = {name: value for name, value in values.items() if value is not None}
    _check_options(target, given)
    if target.suffix.lower() == LITERT_SUFFIX and given.pop("fp16", False):
        given["precision"] = "float16"
    write_file(model, target, **given)
    files = written_files(target, external=bool(external))
    return Exported(files, sum(map(size_of, files)), _how_checked(target, check=check))


def _check_options(path: Path, given: Mapping[str, Any]) -> None:
    known = OPTIONS_BY_SUFFIX.get(path.suffix.lower())
    if known is None:
        raise _unknown_format(path)
    for name in given:
        if name not in known:
            raise DarkconvError(
                f"{path}: {name} is no option of {path.suffix} files",
                expected=", ".join(known) or "none",
            )


def _how_checked(path: Path, *, check: bool | None) -> str:
    library, words = RUNNERS.get(path.suffix.lower(), ("", ""))
    return words if check is not False and library and is_installed(library) else ""


def write_file(model: Model, path: Path, **options: Any) -> None:
    """Write a model in the format that a suffix says.

    Args:
        model: what to write.
        path: the file.
        options: of `write_onnx`, `to_keras` or `write_litert`; other formats have none.

    Raises:
        DarkconvError: an unknown suffix, beside what the writers raise.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise _unknown_format(path)
    writer(model, path, **options)


def _unknown_format(path: Path) -> DarkconvError:
    return DarkconvError(
        f"{os.fspath(path)}: unknown format",
        expected=f"a name that ends in {', '.join(OPTIONS_BY_SUFFIX)}",
        hint="darkconv.save writes .cfg and .weights",
    )


def written_files(path: Path, *, external: bool) -> tuple[Path, ...]:
    """Return an exported file and, with `external`, that of the weights beside an ONNX file."""
    is_beside = external and path.suffix.lower() == ONNX_SUFFIX
    return (path, spoke("onnx").data_path(path)) if is_beside else (path,)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _write_onnx(model: Model, path: Path, **options: Any) -> None:
    spoke("onnx").write_onnx(model, path, **options)


def _write_safetensors(model: Model, path: Path) -> None:
    torch = spoke("torch")
    torch.write_safetensors(torch.to_torch(model), path)


def _write_program(model: Model, path: Path) -> None:
    torch = spoke("torch")
    torch.write_program(torch.to_torch(model), path)


def _write_keras(model: Model, path: Path, **options: Any) -> None:
    keras = spoke("keras")
    keras.write_keras(keras.to_keras(model, **options), path)


def _write_saved_model(model: Model, path: Path, **options: Any) -> None:
    keras = spoke("keras")
    keras.write_saved_model(keras.to_keras(model, **options), path)


def _write_litert(model: Model, path: Path, **options: Any) -> None:
    spoke("keras").write_litert(model, path, **options)


WRITERS: dict[str, Callable[..., None]] = {
    ONNX_SUFFIX: _write_onnx,
    SAFETENSORS_SUFFIX: _write_safetensors,
    PROGRAM_SUFFIX: _write_program,
    KERAS_SUFFIX: _write_keras,
    SAVED_MODEL_SUFFIX: _write_saved_model,
    LITERT_SUFFIX: _write_litert,
}
"""Writers by suffix."""
