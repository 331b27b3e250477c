"""Checks of the output paths, made before the work begins, so that no run fails at its end."""

from collections.abc import Sequence
from pathlib import Path

from darkconv.backends import spoke
from darkconv.errors import DarkconvError
from darkconv.files import check_saved_model
from darkconv.files.outputs import check_belongs, check_pair, note_output
from darkconv.loading.formats import ONNX_SUFFIX, SAVED_MODEL_SUFFIX, suffix_hint


def check_target(path: Path, weights: Path | None, suffixes: Sequence[str]) -> None:
    """Check that a model can be written in the format of a path's suffix.

    Args:
        path: path of the file, or of the cfg of Darknet's files.
        weights: path of the weights of Darknet's files; None for a format of one file.
        suffixes: suffixes of the formats of one file.

    Raises:
        DarkconvError: the format is unknown, or a file beside the output exists and does not belong
            to it.
    """
    suffix = path.suffix.lower()
    if weights is None and suffix not in suffixes:
        raise DarkconvError(
            f"{path}: unknown format",
            expected=f"OUT.cfg OUT.weights, or a name that ends in {', '.join(suffixes)}",
            hint=suffix_hint(suffix, suffixes),
        )
    if suffix == SAVED_MODEL_SUFFIX:
        check_saved_model(path)
    if weights is not None:
        check_pair(path, weights)
        names = path.with_suffix(".names")
        check_belongs(names, path)
        note_output(names)


def note_arrays(path: Path, *, is_beside: bool) -> None:
    """Note the file of arrays beside an ONNX file as an output.

    Args:
        path: path of the model file.
        is_beside: True if the arrays are written to a file beside it.

    Raises:
        DarkconvError: a file of that name exists and does not belong to the output.
    """
    if is_beside and path.suffix.lower() == ONNX_SUFFIX:
        beside = spoke("onnx").data_path(path)
        check_belongs(beside, path)
        note_output(beside)
