"""Reading of a model from Darknet's own files: a cfg, its weights, and the class names."""

import logging
import os
from dataclasses import replace
from pathlib import Path

from darkconv import layers as _layers  # noqa: F401 - the import fills the table of layer types
from darkconv.core.dialect import Dialect
from darkconv.core.model import Header, InitialArrays, Model
from darkconv.core.names import NO_NAMES, Names
from darkconv.core.network import Network, build_network, build_sized_network
from darkconv.core.options import option_table
from darkconv.core.section import Config
from darkconv.core.spec import LAYER_TYPES, HeadSpec
from darkconv.core.tree import Tree
from darkconv.darknet.cfg import read_cfg
from darkconv.darknet.darkflow import apply_dissection, is_dissection, read_dissection
from darkconv.darknet.data import find_beside, read_names, read_tree
from darkconv.darknet.dialect import AUTO, choose_dialect, named_dialect
from darkconv.darknet.weights import WeightsFile, map_weights
from darkconv.errors import CfgError, DatasetError, Where
from darkconv.files import PathLike

logger = logging.getLogger("darkconv")


def read_darknet(
    cfg: PathLike,
    weights: PathLike | None = None,
    *,
    names: PathLike | None = None,
    names_encoding: str | None = None,
    dialect: str = AUTO,
    input_size: tuple[int, int] | None = None,
    cutoff: int | None = None,
) -> Model:
    """Read a model from Darknet's own files; `darkconv.load` describes the arguments in detail.

    Args:
        cfg: path of the cfg.
        weights: path of the weights file; None for Darknet's initial values.
        names: path of the names file; None for the one beside the cfg or the weights.
        names_encoding: encoding of the names file; None for UTF-8 or what a byte order mark says.
        dialect: name of the dialect, or "auto" to choose it from cfg and weights.
        input_size: (width, height) of the input in pixels; None for that of the cfg.
        cutoff: number of layers that the weights file holds; None for all, or what its name says.

    Raises:
        CfgError: the cfg cannot be read, or was replaced while its weights were read.
        GraphError: the layers do not fit together.
        WeightsError: the weights file cannot be read, or belongs to another network.
        DatasetError: the names file cannot be read, or there is none to decode.
        PlanError: a dissection does not fit the network.
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
    """Return the values by which a change of a file is noticed.

    If several files are replaced together, the cfg is the last of them.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_trees(config: Config) -> dict[str, Tree]:
    """Read the class trees that a cfg names, if their files are found.

    Args:
        config: the text of the cfg, as data.

    Returns:
        The class trees by the value of `tree=`.

    Raises:
        DatasetError: a tree file cannot be read.
    """
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
    """Return the names file that lies beside a cfg or its weights and shares their name.

    Args:
        cfg: path of the cfg.
        weights: path of the weights file; None if there is none.

    Returns:
        The path of the names file; None if there is none.
    """
    for file in (cfg, weights):
        if file is not None:
            path = Path(file).with_suffix(".names")
            if os.path.isfile(path):  # Path.is_file raises an error if a name is too long
                return path
    return None
