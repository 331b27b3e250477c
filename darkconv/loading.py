"""load and save: a model as Darknet's own files."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from types import EllipsisType

import numpy as np

from darkconv import layers as _layers  # noqa: F401 - fills the table of layer types
from darkconv.arguments import checked
from darkconv.core.dialect import Dialect
from darkconv.core.model import Header, InitialArrays, Model, initial_array
from darkconv.core.names import NO_NAMES, Names
from darkconv.core.network import Network, build_network, build_sized_network
from darkconv.core.options import option_table
from darkconv.core.section import Config
from darkconv.core.spec import LAYER_TYPES, HeadSpec
from darkconv.core.tree import Tree
from darkconv.darknet.cfg import cfg_bytes, read_cfg
from darkconv.darknet.darkflow import apply_dissection, is_dissection, read_dissection
from darkconv.darknet.data import find_beside, names_bytes, read_names, read_tree
from darkconv.darknet.dialect import AUTO, choose_dialect, named_dialect
from darkconv.darknet.weights import WeightsFile, map_weights, weights_chunks
from darkconv.errors import CfgError, DarkconvError, DatasetError, PlanError, Where
from darkconv.files import Chunks, PathLike, write_together
from darkconv.files.outputs import check_outputs

logger = logging.getLogger("darkconv")

EXPORT = "dc.export writes other formats, such as .onnx"
LOADING_OPTIONS = ("dontload", "dontloadscales", "numload")


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
) -> Model:
    """Read a Darknet model.

    A cfg with darkflow's dissection sections is read with the original's weights and gives the
    smaller model: see `darkconv.darknet.darkflow`.

    Args:
        cfg: the network.
        weights: its arrays; without them the arrays hold Darknet's initial values.
        names: class names; `<stem>.names` beside the cfg or the weights unless given.
        names_encoding: of the names file, such as "gbk"; by default UTF-8, or what its byte order
            mark says, and bytes that are neither are kept.
        dialect: "auto", "pjreddie" or "alexeyab": see `darkconv.darknet.dialect`.
        input_size: (width, height) of pictures, in place of the cfg's own, at which the layers
            need not fit together.
        cutoff: the weights file holds only the layers below this number.

    Raises:
        CfgError: the cfg cannot be read.
        GraphError: its layers do not fit together, or not at this input size.
        WeightsError: the file is not a weights file, or not this network's.
        DatasetError: the names file cannot be read, or there is none to decode.
        PlanError: a dissection that does not fit the network.
    """
    known = _status(cfg)
    config = read_cfg(cfg)
    dissection = read_dissection(config) if is_dissection(config) else None
    if dissection:
        config = dissection.original
    file = WeightsFile(weights) if weights is not None else None
    rules = _dialect(dialect, config, file)
    trees = read_trees(config)
    if input_size is None:
        network = build_network(config, rules, trees=trees)
    else:
        network = build_sized_network(config, rules, input_size, trees=trees)
    if file is None:
        every = tuple(layer.index for layer in network.layers if layer.slots)
        arrays = InitialArrays(network)
        model = Model(network, arrays, Header.new(rules), initial_layers=every)
    else:
        model = map_weights(file, network, cutoff=cutoff)
    if dissection:
        model = apply_dissection(model, dissection)
    logger.info("%s: read by the rules of the dialect %s", os.fspath(cfg), rules.name)
    found = _names(names, cfg, weights, model.network, names_encoding)
    model = replace(model, names=found) if found else model
    if weights is not None and _status(cfg) != known:
        raise CfgError("was replaced while its weights were read", where=Where(file=os.fspath(cfg)))
    return model


def _status(path: PathLike) -> tuple[int, ...] | None:
    """What changes with a file; of files that are replaced together the cfg comes last."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@checked
def save(
    model: Model,
    cfg: PathLike,
    weights: PathLike | EllipsisType | None = ...,
    *,
    names: PathLike | None = None,
) -> None:
    """Write a model as Darknet's own files: the exact inverse of `load`.

    Files that are there are replaced, also those that the model was loaded from.

    Layers with `dontload`, `dontloadscales` or `numload` have no place in the file for some
    arrays. Where such an array has been changed, the option is set to 0, with a warning.

    Args:
        model: what to write.
        cfg: file for the network; its name ends in .cfg.
        weights: file for the arrays; its name ends in .weights. None writes the cfg alone.
        names: file for the class names.

    Raises:
        DarkconvError: a file cannot be written, or its name says another format; two of the files
            are the same; nothing is said about the weights.
        DatasetError: the model has no class names for the file.
        PlanError: classes were cut behind a softmax, which Darknet's files cannot say.
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
        contents[weights] = weights_chunks(model)
    if names is not None:
        contents[names] = [names_bytes(model.names, names)]
    write_together(contents | {cfg: [cfg_bytes(model.network.config)]})


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
    """The model, its cfg edited where an array would be lost."""
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


def read_trees(config: Config) -> dict[str, Tree]:
    """The class trees that a cfg names, as far as their files are found."""
    trees = {}
    for section in config.distinct_sections[1:]:
        spec: type | None = LAYER_TYPES.get(section.name)
        name = section.get("tree") if spec and "tree" in option_table(spec) else None
        path = find_beside(name, config.file) if name else None
        if name and path:
            trees[name] = read_tree(path)
    return trees


def _dialect(name: str, config: Config, file: WeightsFile | None) -> Dialect:
    if name != AUTO:
        return named_dialect(name)
    return choose_dialect(config, file.unread_header if file else None)


def _names(
    given: PathLike | None,
    cfg: PathLike,
    weights: PathLike | None,
    network: Network,
    encoding: str | None,
) -> Names:
    path = given if given is not None else names_beside(cfg, weights)
    if path is None:
        if encoding is not None:
            raise DatasetError(
                "names_encoding: there is no names file", where=Where(file=network.file)
            )
        return NO_NAMES
    names = read_names(path, encoding=encoding)
    logger.info("%s: %d class names", os.fspath(path), len(names))
    counts = {
        head.spec.num_classes(head.in_shapes)
        for head in network.heads
        if isinstance(head.spec, HeadSpec)
    }
    if counts and len(names) not in counts:
        logger.warning(
            "%s: has %d names, but %s predicts %s classes",
            os.fspath(path),
            len(names),
            network.file,
            " and ".join(map(str, sorted(counts))),
        )
    return names


def names_beside(cfg: PathLike, weights: PathLike | None) -> Path | None:
    """Return the names file that lies beside a cfg or its weights, under their name."""
    for file in (cfg, weights):
        if file is not None:
            path = Path(file).with_suffix(".names")
            if os.path.isfile(path):  # Path.is_file raises where a name is too long
                return path
    return None
