"""Know the formats of model files by their suffixes, without importing a framework."""

import os
import re
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
"""Formats that Darknet's arrays cannot be read back from, by suffix: see `darkconv.load`."""
RUNNABLE_SUFFIXES = (ONNX_SUFFIX, LITERT_SUFFIX)
"""Suffixes of files that commands run as they are."""
READABLE_SUFFIXES = (SAFETENSORS_SUFFIX, KERAS_SUFFIX, ONNX_SUFFIX)
"""Suffixes of exported files that hold a whole model; an ONNX file does so in float32 alone."""
EXPORTED_SUFFIXES = (*READABLE_SUFFIXES, *ONE_WAY)
"""Suffixes of everything that darkconv writes as one file or folder."""
CHECKPOINT_SUFFIXES = (
    *(".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".hdf5", ".keras", ".onnx"),
    *(".index", ".tf"),
)
"""Suffixes of other tools' files: see `darkconv.import_weights`."""
_STARTS = (b"\x89HDF\r\n\x1a\n", *(b"\x80" + bytes([protocol]) for protocol in (2, 3, 4, 5)))
"""First bytes of HDF5 files and pickles; Darknet's weights begin with small numbers."""
_MEMBERS = (b"/data.pkl", b"model.weights.h5", b"/archive_format")
"""Names of members in the zip archives of PyTorch and Keras."""
_LONGEST_LIST = 1 << 20
"""Number of bytes at the end of an archive that are searched for names."""
DARKNET_SUFFIXES = (".cfg", ".weights")
PICKLE_SUFFIXES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Suffixes of files that run code when they are read; they are never read as a model."""


_TENSORRT = "TensorRT builds its engine from .onnx, on the machine that will run it"
_PICKLED = ".pt2 and .safetensors are PyTorch's formats that run nothing when they are read"
MEANT_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys(PICKLE_SUFFIXES, _PICKLED),
    **dict.fromkeys((".h5", ".hdf5"), ".keras is the format of Keras 3"),
    ".pb": ".savedmodel is the folder that TensorFlow reads",
    **dict.fromkeys((".engine", ".plan", ".trt"), _TENSORRT),
    **dict.fromkeys((".xml", ".bin"), "OpenVINO reads .onnx; --for openvino writes its own form"),
    ".param": "--for ncnn writes a folder with model.param and model.bin",
    **dict.fromkeys((".mlmodel", ".mlpackage"), "--for coreml writes a folder with an .mlpackage"),
    **dict.fromkeys(DARKNET_SUFFIXES, "Darknet's two files are named one after the other"),
}
"""Hints for suffixes of files that darkconv does not write."""


def suffix_hint(suffix: str, known: Sequence[str]) -> str | None:
    """Return a hint for an unknown suffix: the format that is meant, or a similar suffix.

    Args:
        suffix: a suffix that no format has, with its dot.
        known: suffixes that would be accepted.

    Returns:
        The hint, or None where nothing is near.
    """
    near = get_close_matches(suffix, known, n=1)
    return MEANT_SUFFIXES.get(suffix) or (f"did you mean {near[0]}?" if near else None)


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the suffix that says a file's format, in lower case: `.onnx`.

    Args:
        path: the file.
    """
    return Path(path).suffix.lower()


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return True if a file or folder is another tool's checkpoint, by its name or its content.

    Args:
        path: the file or folder.
    """
    if suffix_of(path) in CHECKPOINT_SUFFIXES or tensorflow_prefix(path):
        return True
    try:
        with open(path, "rb") as stream:
            start = stream.read(64)
            if start.startswith(b"PK\x03\x04"):
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size - _LONGEST_LIST))
                names = stream.read()
                return any(name in names for name in _MEMBERS)
            size = stream.seek(0, os.SEEK_END)
    except (OSError, ValueError):
        return False
    is_safetensors = start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size
    return start.startswith(_STARTS) or is_safetensors


def tensorflow_prefix(path: str | os.PathLike[str]) -> str:
    """Return the prefix of the file names of a TensorFlow checkpoint.

    Args:
        path: the prefix itself, one of the files, a folder that holds this checkpoint alone, or the
            folder of a SavedModel.

    Returns:
        The prefix; "" where there is no such checkpoint.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        inner = os.path.join(name, "variables", "variables")
        if os.path.isfile(f"{inner}.index"):
            return inner
        found = [one for one in sorted(os.listdir(name)) if one.endswith(".index")]
        return os.path.join(name, found[0].removesuffix(".index")) if len(found) == 1 else ""
    plain = re.sub(r"\.(?:index|data-\d{5}-of-\d{5})$", "", name)
    is_there = not (plain == name and os.path.exists(name))
    return plain if is_there and os.path.isfile(f"{plain}.index") else ""
