"""Models that a command writes: a run must not fail where it would end."""

from collections.abc import Iterable, Sequence

from darkconv.cli.params import Output
from darkconv.errors import DarkconvError
from darkconv.files import check_saved_model
from darkconv.files.outputs import check_belongs, check_pair, note_output
from darkconv.loading.formats import SAVED_MODEL_SUFFIX


def check_outputs(outputs: Iterable[Output], suffixes: Sequence[str]) -> None:
    """Check that models can be written in the formats that their names say.

    Args:
        outputs: where to.
        suffixes: of the formats of one file.

    Raises:
        DarkconvError: an unknown format, or a file whose name would follow from an output is
            there already and is not that output's.
    """
    for output in outputs:
        if output.weights is None and output.suffix not in suffixes:
            raise DarkconvError(
                f"{output.path}: unknown format",
                expected=f"OUT.cfg OUT.weights, or a name that ends in {', '.join(suffixes)}",
            )
        if output.suffix == SAVED_MODEL_SUFFIX:
            check_saved_model(output.path)
        if output.weights is not None:
            check_pair(output.path, output.weights)
            names = output.path.with_suffix(".names")
            check_belongs(names, output.path)
            note_output(names)
