"""Load a model from Darknet's files, a bundled network, or one file that darkconv wrote."""

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
    `.safetensors` and `.keras` hold a whole model. So do `.onnx` files in float32, where folded
    batch normalization stays folded. ONNX files in half precision or 8 bits are refused, and so
    are graphs that hold an array in another form. Darknet's arrays cannot be read back from
    `.tflite` files, SavedModels and `.pt2` programs.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("yolov3-tiny")  # a bundled network, with Darknet's initial values
        >>> len(model.network.layers), model.network.input_shape
        (24, Shape(c=3, h=416, w=416))

    Args:
        cfg: a `.cfg` file, the name of a bundled network such as "yolov3", or one `.safetensors`,
            `.keras` or `.onnx` file that darkconv has written.
        weights: file with the arrays of the cfg; without it the arrays hold Darknet's initial
            values.
        names: file of class names; by default `<stem>.names` beside the cfg or the weights, or the
            names that an exported file holds.
        names_encoding: encoding of the names file, such as "gbk"; by default UTF-8, or what its
            byte order mark says, and bytes that are neither are kept.
        dialect: "auto", "pjreddie", "alexeyab" or "yolor": see `darkconv.darknet.dialect`. An
            exported file holds its own.
        input_size: (width, height) of pictures in pixels; None for the cfg's own. At another size
            the layers need not fit together at the cfg's own.
        cutoff: index of the first layer that the weights file does not hold, from 0; None if it
            holds all layers.
        allow_nonfinite: use arrays that hold NaN or infinity, and variances without a root, with a
            warning.

    Returns:
        The model. Its weights are mapped from the file, not copied.

    Raises:
        CfgError: the cfg cannot be read, or there is neither such a file nor a bundled network.
        GraphError: the layers do not fit together at this input size.
        WeightsError: the file is not a weights file, or not this network's; an array holds NaN or
            infinity, or a variance has no root.
        DatasetError: the names file cannot be read, or there is none to decode.
        PlanError: a dissection does not fit the network.
        DarkconvError: the file's format does not hold Darknet's arrays, or an option about
            Darknet's files was given for a file that darkconv has written.
        MissingDependencyError: the library that the file needs (PyTorch, Keras or onnx) is not
            installed.
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
    """Check a model that was read for NaN, infinity and variances without a root.

    Args:
        model: the model; initial values are not checked.
        file: the file that it was read from.
        allow_nonfinite: True to check variances alone, and to warn rather than raise.
        remedy: advice to the user, for the hint.

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
    """Read a model without checking its arrays: see `load`, which has the same arguments.

    Args:
        cfg: a `.cfg` file, the name of a bundled network, or a file that darkconv has written.
        weights: file with the arrays of the cfg; None for Darknet's initial values.
        names: file of class names; None for those that belong to the model.
        names_encoding: encoding of the names file; None for UTF-8.
        dialect: "auto", "pjreddie", "alexeyab" or "yolor".
        input_size: (width, height) of pictures in pixels; None for the cfg's own.
        cutoff: index of the first layer that the weights file does not hold, from 0; None if it
            holds all layers.

    Raises:
        DarkconvError: see `load`.
    """
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
    """Raise an error for an option about Darknet's files: an exported file holds its own values."""
    for option, is_given in (
        ("weights", weights is not None),
        ("dialect", dialect != AUTO),
        ("cutoff", cutoff is not None),
    ):
        if is_given:
            raise DarkconvError(
                f"{option} is about Darknet's files: {file} says itself what it holds"
            )
