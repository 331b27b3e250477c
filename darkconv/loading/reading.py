"""load: a model from Darknet's files, a bundled network, or one file that darkconv wrote."""

import logging
import os

from darkconv.arguments import checked
from darkconv.core.finite import check_finite, check_variances
from darkconv.core.model import Model
from darkconv.darknet.bundled import find_cfg
from darkconv.darknet.dialect import AUTO
from darkconv.darknet.reading import read_darknet
from darkconv.errors import DarkconvError, WeightsError
from darkconv.files import PathLike
from darkconv.loading.exported import READABLE, read_arrays
from darkconv.loading.formats import (
    CHECKPOINT_SUFFIXES,
    EXPORTED_SUFFIXES,
    PICKLE_SUFFIXES,
    suffix_of,
)

logger = logging.getLogger("darkconv")

IMPORT = "dc.import_weights(cfg, file) takes the arrays out of another tool's checkpoint"
REMEDY = "allow_nonfinite=True uses it all the same"


@checked
def load(
    cfg: PathLike,
    weights: PathLike | None = None,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    dialect: str = AUTO,
    input_size: tuple[int, int] | None = None,
    cutoff: int | None = None,
    allow_nonfinite: bool = False,
) -> Model:
    """Read a model of any format.

    A cfg with darkflow's dissection sections is read with the original's weights and gives the
    smaller model: see `darkconv.darknet.darkflow`. Of the files that darkconv exports,
    `.safetensors` and `.keras` hold a whole model. So do `.onnx` files in float32, where batch
    norm that was folded stays folded; those in half precision or 8 bits, and networks of which
    the graph holds an array in another form, are refused. From `.tflite` files, SavedModels and
    `.pt2` programs Darknet's arrays cannot be read back.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("yolov3-tiny")  # a bundled network, with Darknet's initial values
        >>> len(model.network.layers), model.network.input_shape
        (24, Shape(c=3, h=416, w=416))

    Args:
        cfg: a `.cfg` file, the name of a bundled network such as "yolov3", or one `.safetensors`,
            `.keras` or `.onnx` file that darkconv has written.
        weights: the arrays of a cfg; without them the arrays hold Darknet's initial values.
        names: class names; `<stem>.names` beside the cfg or the weights unless given, or those
            that an exported file holds.
        names_encoding: of the names file, such as "gbk"; by default UTF-8, or what its byte order
            mark says, and bytes that are neither are kept.
        dialect: "auto", "pjreddie", "alexeyab" or "yolor": see `darkconv.darknet.dialect`. An
            exported file knows its own.
        input_size: (width, height) of pictures, in place of the cfg's own, at which the layers
            need not fit together.
        cutoff: the weights file holds only the layers below this number.
        allow_nonfinite: use arrays that hold NaN or infinity, and variances without a root; these
            are a warning then.

    Returns:
        The model. Its weights are mapped from the file, not copied.

    Raises:
        CfgError: the cfg cannot be read, or there is neither such a file nor a bundled network.
        GraphError: its layers do not fit together, or not at this input size.
        WeightsError: the file is not a weights file, or not this network's; an array holds NaN or
            infinity, or a variance has no root.
        DatasetError: the names file cannot be read, or there is none to decode.
        PlanError: a dissection that does not fit the network.
        DarkconvError: a file of a format that does not hold Darknet's arrays, or an option about
            Darknet's files for one that darkconv has written.
        MissingDependencyError: what such a file needs (PyTorch, Keras or onnx) is not installed.
    """
    model = read_model(
        cfg, weights, names=names, names_encoding=names_encoding, dialect=dialect,
        input_size=input_size, cutoff=cutoff,
    )  # fmt: skip
    check_arrays(model, weights if weights is not None else cfg, allow_nonfinite=allow_nonfinite)
    return model


def check_arrays(
    model: Model, file: PathLike, *, allow_nonfinite: bool, remedy: str = REMEDY
) -> None:
    """Look for NaN, infinity and variances without a root in what a file gave.

    Args:
        model: what was read; initial values are not looked at.
        file: that it was read from.
        allow_nonfinite: warn of variances without a root, and look for nothing else.
        remedy: what the user can do, for the hint.

    Raises:
        WeightsError: there are some.
    """
    if not allow_nonfinite:
        check_finite(model, os.fspath(file), remedy=remedy)
        return
    try:
        check_variances(model, os.fspath(file))
    except WeightsError as error:
        logger.warning("%s", str(error).splitlines()[0])


def read_model(
    cfg: PathLike,
    weights: PathLike | None = None,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    dialect: str = AUTO,
    input_size: tuple[int, int] | None = None,
    cutoff: int | None = None,
) -> Model:
    """Read a model whatever its arrays hold: see `load`, whose arguments these are."""
    suffix, file = suffix_of(cfg), os.fspath(cfg)
    if suffix in PICKLE_SUFFIXES:
        raise DarkconvError(
            f"{file}: is a pickle by its name, which could run code: it is never read",
            expected=READABLE,
            hint=IMPORT if suffix in CHECKPOINT_SUFFIXES else None,
        )
    if suffix in EXPORTED_SUFFIXES:
        _check_says_itself(file, weights, dialect, cutoff)
        return read_arrays(cfg, names=names, names_encoding=names_encoding, input_size=input_size)
    if cutoff is not None and weights is None:
        raise DarkconvError(f"{file}: cutoff is about the weights, and none are given")
    return read_darknet(
        find_cfg(cfg, weights), weights, names=names, names_encoding=names_encoding,
        dialect=dialect, input_size=input_size, cutoff=cutoff,
    )  # fmt: skip


def _check_says_itself(
    file: str, weights: PathLike | None, dialect: str, cutoff: int | None
) -> None:
    """Raise for what is about Darknet's files: an exported one knows better."""
    for option, is_given in (
        ("weights", weights is not None),
        ("dialect", dialect != AUTO),
        ("cutoff", cutoff is not None),
    ):
        if is_given:
            raise DarkconvError(
                f"{option} is about Darknet's files: {file} says itself what it holds"
            )
