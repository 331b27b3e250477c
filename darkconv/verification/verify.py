"""Check that a framework, or a file, gives what the model gives: `darkconv.verify`."""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from darkconv.arguments import checked
from darkconv.backends import spoke
from darkconv.core.model import Model
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.loading.exported import read_anything
from darkconv.loading.formats import (
    DARKNET_SUFFIXES,
    SAFETENSORS_SUFFIX,
    SAVED_MODEL_SUFFIX,
    suffix_of,
)
from darkconv.verification.foreign import compare_foreign, fitted_model
from darkconv.verification.inputs import one_input, several_inputs
from darkconv.verification.layers import compare_layers
from darkconv.verification.outputs import compare_outputs
from darkconv.verification.results import FileVerification, LayerVerification, Verification

if TYPE_CHECKING:
    from PIL.Image import Image

    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import ForeignFile
    from darkconv.pictures.picture import PictureLike
    from darkconv.verification.inputs import Images

logger = logging.getLogger("darkconv")

TITLES = {"onnx": "ONNX", "keras": "Keras"}
NOT_COMPARED = {
    SAVED_MODEL_SUFFIX: "compare a .keras file: it is made from the same graph",
    **dict.fromkeys(
        (SAFETENSORS_SUFFIX, *DARKNET_SUFFIXES), "darkconv weights diff compares the arrays"
    ),
}
"""Suffixes of files whose outputs are not compared, each with a hint."""


@checked
def verify(
    model: Model,
    file: PathLike | None = None,
    *,
    image: "PictureLike | Image | Sequence[PictureLike | Image] | None" = None,
    backend: Literal["onnx", "keras"] | None = None,
    input_size: tuple[int, int] | None = None,
    device: str = "auto",
    batch: int = 1,
) -> Verification:
    """Compare a model in PyTorch with another framework, or with a file made from it.

    Without a file every layer is compared. Both frameworks are built from the Darknet model
    independently, so a value that both give is right. Of a file the outputs are compared, whatever
    its `head=`. The outputs of an ONNX file that another tool made are matched by their shapes.
    Files in half precision have a larger tolerance. Files in 8 bits are compared channel by
    channel: docs/onnx.md says which faults this finds and which it does not.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> check = dc.verify(load_digits10())
        >>> check.ok, check.compared > 0
        (True, True)

    Args:
        model: the model that the framework or the file should agree with.
        file: an `.onnx`, `.keras`, `.tflite` or `.pt2` file; None compares all layers.
        image: one picture, or several, to run; by default seeded noise, and for files with boxes
            or in 8 bits bundled pictures too.
        backend: the framework that PyTorch is compared with where there is no file: "onnx" (the
            default) or "keras".
        input_size: (width, height) of pictures in place of the model's own, where the file's size
            is free.
        device: the device that PyTorch runs on: "auto" (the GPU where there is one), "cpu", "cuda"
            or "cuda:1". The other side runs on the CPU.
        batch: number of pictures, or inputs of noise, that run together; each is compared by
            itself.

    Returns:
        The rows, one for each layer or figure, with `ok` and `compared`.

    Raises:
        DarkconvError: the outputs of such a file are not compared, the file is damaged, does not
            run or takes another input, or none of its outputs matches one of the model's.
        UnsupportedError: a layer that a framework cannot express.
        MissingDependencyError: a framework is not installed.
    """
    if batch < 1:
        raise DarkconvError("batch", expected="a number from 1", found=batch)
    if file is None:
        model = model.with_input_size(*input_size) if input_size else model
        return verify_layers(model, image, backend or "onnx", device, batch)
    if backend is not None:
        raise DarkconvError(
            "backend is about layers, and a file says itself what runs it", found=backend
        )
    return verify_file(model, file, image, input_size, device, batch)


def verify_layers(
    model: Model, image: "Images", backend: Literal["onnx", "keras"], device: str, batch: int
) -> LayerVerification:
    """Compare every layer in PyTorch with the same layer in another framework: see `verify`.

    Args:
        model: the model that is built in both frameworks.
        image: one picture, several, or None for noise.
        backend: the other framework.
        device: the device that PyTorch runs on.
        batch: number of inputs that run together.

    Returns:
        One row for each layer.
    """
    inputs = one_input(model, image, batch)
    return LayerVerification(
        compare_layers(model, inputs, backend, device),
        inputs.words,
        network=model.network,
        frameworks=("PyTorch", TITLES[backend]),
    )


def verify_file(
    model: Model,
    file: PathLike,
    image: "Images",
    input_size: tuple[int, int] | None,
    device: str,
    batch: int,
) -> FileVerification:
    """Compare the outputs of a file with the model's: see `verify`.

    Args:
        model: the model that the file should agree with.
        file: an `.onnx`, `.keras` or `.tflite` file.
        image: one picture, several, or None for noise and bundled pictures.
        input_size: (width, height) of pictures in place of the model's own; None keeps that.
        device: the device that PyTorch runs on.
        batch: number of inputs that run together.

    Returns:
        One row for each output or property.
    """
    from darkconv.backends.exported import ExportedFile

    opened = open_compared(file)
    if isinstance(opened, ExportedFile):
        return _verify_own(model, opened, image, input_size, device, batch)
    model = model.with_input_size(*input_size) if input_size else model
    return _verify_foreign(model, opened, image, device, batch)


def open_compared(path: PathLike) -> "ExportedFile | ForeignFile":
    """Open a file whose outputs are compared.

    Args:
        path: an `.onnx`, `.keras` or `.tflite` file.

    Raises:
        DarkconvError: a file of another format, or a damaged one.
    """
    suffix = suffix_of(path)
    if suffix in NOT_COMPARED:
        raise DarkconvError(
            f"{os.fspath(path)}: its outputs cannot be compared",
            expected="a file that ends in .onnx, .keras, .tflite or .pt2",
            hint=NOT_COMPARED[suffix],
        )
    return read_anything(path)


def _verify_own(
    model: Model,
    file: "ExportedFile",
    image: "Images",
    input_size: tuple[int, int] | None,
    device: str,
    batch: int,
) -> FileVerification:
    if file.input_size and model.network.input_shape.is_map:
        model = model.with_input_size(*file.input_size)
    _warn_of_other_sources(model, file)
    if input_size:
        model, file = model.with_input_size(*input_size), file.with_input_size(*input_size)
    inputs = several_inputs(model, image, batch, has_columns=file.precision == "int8")
    return compare_outputs(model, file, inputs, device=device)


def _verify_foreign(
    model: Model,
    file: "ForeignFile",
    image: "Images",
    device: str,
    batch: int,
) -> FileVerification:
    model = fitted_model(model, file)
    inputs = several_inputs(model, image, batch, has_columns=file.precision == "int8")
    return compare_foreign(model, file, inputs, device=device)


def _warn_of_other_sources(model: Model, file: "ExportedFile") -> None:
    """Warn if an ONNX file was made from other files than the model's."""
    if "cfg_sha256" not in file.metadata:
        return
    is_in_place = "weights_sha256" not in file.metadata
    for key, digest in spoke("onnx").digests(model, in_place=is_in_place).items():
        if file.metadata[key] != digest:
            what = key.removesuffix("_sha256")
            logger.warning("%s: was made from another %s file", file.path, what)
