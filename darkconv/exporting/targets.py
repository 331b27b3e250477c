"""Where a model goes, looked at before the work begins: a run must not fail where it would end."""

from collections.abc import Sequence
from pathlib import Path

from darkconv.backends import spoke
from darkconv.errors import DarkconvError
from darkconv.files import check_saved_model
from darkconv.files.outputs import check_belongs, check_pair, note_output
from darkconv.loading.formats import ONNX_SUFFIX, SAVED_MODEL_SUFFIX, suffix_hint


def check_target(path: Path, weights: Path | None, suffixes: Sequence[str]) -> None:
    """Check that a model can be written in the format that a name says.

    Args:
        path: where to; the cfg of Darknet's files.
        weights: of Darknet's files.
        suffixes: of the formats of one file.

    Raises:
        DarkconvError: an unknown format, or a file whose name would follow from the path is
            there already and is not that output's.
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
    """Tell of the file of arrays that lies beside an ONNX file.

    Args:
        path: of a model that is written.
        is_beside: its arrays do not stand in it.

    Raises:
        DarkconvError: somebody else's file is in the way.
    """
    if is_beside and path.suffix.lower() == ONNX_SUFFIX:
        beside = spoke("onnx").data_path(path)
        check_belongs(beside, path)
        note_output(beside)
