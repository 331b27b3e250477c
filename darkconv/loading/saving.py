"""Save a model as Darknet's own files."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from types import EllipsisType

import numpy as np

from darkconv.arguments import checked
from darkconv.core.finite import check_kept
from darkconv.core.model import Model, initial_array
from darkconv.core.network import Network
from darkconv.darknet.cfg import cfg_bytes
from darkconv.darknet.data import names_bytes
from darkconv.darknet.dialect import tell_of_other_reading
from darkconv.darknet.weights import weights_chunks
from darkconv.errors import DarkconvError, PlanError
from darkconv.files import Chunks, PathLike, write_together
from darkconv.files.outputs import check_outputs

logger = logging.getLogger("darkconv")

WRITE_NONFINITE = "allow_nonfinite=True writes it all the same"
EXPORT = "dc.export writes other formats, such as .onnx"
LOADING_OPTIONS = ("dontload", "dontloadscales", "numload")


@checked
def save(
    model: Model,
    cfg: PathLike,
    weights: PathLike | EllipsisType | None = ...,
    *,
    names: PathLike | None = None,
    allow_nonfinite: bool = False,
) -> None:
    """Write a model as Darknet's own files: the exact inverse of `load`.

    Existing files are replaced, also those that the model was loaded from.

    Layers with `dontload`, `dontloadscales` or `numload` have no place in the file for some
    arrays. Where such an array has been changed, the option is set to 0, with a warning.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> dc.save(model, "copy.cfg", "copy.weights")
        >>> from pathlib import Path
        >>> Path("copy.weights").read_bytes() == Path("digits10.weights").read_bytes()
        True

    Args:
        model: the model to write.
        cfg: file for the network; its name ends in .cfg.
        weights: file for the arrays; its name ends in .weights. None writes the cfg alone.
        names: file for the class names; None writes none.
        allow_nonfinite: write arrays that hold NaN or infinity, and variances without a root, with
            a warning: `load` refuses them unless it has the same option.

    Raises:
        WeightsError: an array holds NaN or infinity, or a variance has no root.
        DarkconvError: a file cannot be written, or its name has another suffix; two of the files
            are the same; `weights` was left out.
        DatasetError: the model has no class names for the file.
        PlanError: classes were removed after a softmax, which Darknet's files cannot express.
    """
    _check_says_all(model.network)
    _check_suffixes(cfg, weights)
    if isinstance(weights, EllipsisType):
        raise DarkconvError(
            f"{os.fspath(cfg)}: save writes a cfg and its weights",
            expected="the path of a .weights file too",
            hint=f"weights=None writes the cfg alone; {EXPORT}",
        )
    check_outputs(path for path in (cfg, weights, names) if path is not None)
    model = _storing_changes(model)
    contents: dict[PathLike, Chunks] = {}
    if weights is not None:
        check_kept(
            model, os.fspath(weights), allow_nonfinite=allow_nonfinite, remedy=WRITE_NONFINITE
        )
        contents[weights] = weights_chunks(model)
    if names is not None:
        contents[names] = [names_bytes(model.names, names)]
    write_together(contents | {cfg: [cfg_bytes(model.network.config)]})
    config = replace(model.network.config, file=os.fspath(cfg))
    tell_of_other_reading(config, model.header, model.dialect)


def _check_suffixes(cfg: PathLike, weights: PathLike | EllipsisType | None) -> None:
    for path, suffix in ((cfg, ".cfg"), (weights, ".weights")):
        if not isinstance(path, EllipsisType | None) and Path(path).suffix.lower() != suffix:
            raise DarkconvError(
                f"{os.fspath(path)}: save writes Darknet's own files",
                expected=f"a name that ends in {suffix}",
                hint=EXPORT,
            )


def _check_says_all(network: Network) -> None:
    for head in network.heads:
        if getattr(head.spec, "keep_classes", ()):
            raise PlanError(
                "Darknet cannot leave classes out behind the softmax",
                where=network.where(head.index, "keep_classes"),
                hint="export it (.onnx, .safetensors, .pt2), or cut without keep_softmax",
            )


def _storing_changes(model: Model) -> Model:
    """Return the model, with its cfg edited where an array would be lost."""
    config = model.network.config
    for key, layer, slot in model.network.keyed_slots():
        unstored = slice(slot.stored, None)
        if slot.stored is None or layer.index in model.initial_layers:
            continue
        if np.array_equal(model.arrays[key][unstored], initial_array(key, slot)[unstored]):
            continue
        present = [o for o in LOADING_OPTIONS if layer.section.get(o) is not None]
        logger.warning(
            "%s: changed since it was loaded, so it is stored: %s",
            model.network.where(layer.index),
            ", ".join(f"{option}=0" for option in present),
        )
        config = config.with_section(layer.index + 1, dict.fromkeys(present, 0))
    if config is model.network.config:
        return model
    return replace(model, network=model.network.with_config(config))
