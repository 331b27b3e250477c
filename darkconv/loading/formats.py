"""Formats of model files by their suffixes, known without importing a framework."""

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

ONNX_SUFFIX = ".onnx"
KERAS_SUFFIX = ".keras"
LITERT_SUFFIX = ".tflite"
SAVED_MODEL_SUFFIX = ".savedmodel"
SAFETENSORS_SUFFIX = ".safetensors"
PROGRAM_SUFFIX = ".pt2"

ONE_WAY: Mapping[str, str] = {
    LITERT_SUFFIX: "a LiteRT file",
    SAVED_MODEL_SUFFIX: "a SavedModel, which is for TensorFlow",
    PROGRAM_SUFFIX: "an exported program, which is for PyTorch",
}
"""Files that Darknet's arrays cannot be read back from, by suffix: see `darkconv.load`."""
RUNNABLE_SUFFIXES = (ONNX_SUFFIX, LITERT_SUFFIX)
"""Of files that commands run as they are."""
READABLE_SUFFIXES = (SAFETENSORS_SUFFIX, KERAS_SUFFIX, ONNX_SUFFIX)
"""Of exported files that hold a whole model; ONNX in float32 alone."""
EXPORTED_SUFFIXES = (*READABLE_SUFFIXES, *ONE_WAY)
"""Of all that darkconv writes as one file or folder."""
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".safetensors", ".h5", ".hdf5", ".keras", ".onnx")
"""Of other tools' files: see `darkconv.import_weights`."""
DARKNET_SUFFIXES = (".cfg", ".weights")
PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Of files that run what is in them when they are read: never read as a model."""


_TENSORRT = "TensorRT builds its engine from .onnx, on the machine that will run it"
_PICKLED = ".pt2 and .safetensors are PyTorch's formats that run nothing when they are read"
MEANT_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys(PICKLE_SUFFIXES, _PICKLED),
    **dict.fromkeys((".h5", ".hdf5"), ".keras is the format of Keras 3"),
    ".pb": ".savedmodel is the folder that TensorFlow reads",
    **dict.fromkeys((".engine", ".plan", ".trt"), _TENSORRT),
    **dict.fromkeys((".xml", ".bin"), "OpenVINO reads .onnx"),
    **dict.fromkeys((".mlmodel", ".mlpackage"), "coremltools converts a .pt2 program"),
    **dict.fromkeys(DARKNET_SUFFIXES, "Darknet's two files are named one after the other"),
}
"""What helps whoever wants a file that is not written, by its suffix."""


def suffix_hint(suffix: str, known: Sequence[str]) -> str | None:
    """Return what helps where no format has a suffix: another one, or one of similar spelling."""
    near = get_close_matches(suffix, known, n=1)
    return MEANT_SUFFIXES.get(suffix) or (f"did you mean {near[0]}?" if near else None)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return what says a file's format: `.onnx`, whatever the case of its letters."""
    return Path(path).suffix.lower()
