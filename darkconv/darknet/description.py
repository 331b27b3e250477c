"""What a file of another format says about the Darknet model in it, as text under plain keys."""

import json
from collections.abc import Mapping, Sequence

from darkconv.core.model import Header
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.darknet.cfg import format_cfg, parse_cfg
from darkconv.darknet.data import format_tree, parse_tree
from darkconv.darknet.dialect import named_dialect
from darkconv.errors import DarkconvError, Where

TREE_PREFIX = "tree:"


def describe(network: Network, header: Header, names: Sequence[str]) -> dict[str, str]:
    """The cfg, class names, dialect, weights header and class trees."""
    trees = {TREE_PREFIX + name: format_tree(tree) for name, tree in network.trees.items()}
    return {
        "cfg": format_cfg(network.config).encode("utf-8", "surrogateescape").decode("latin-1"),
        "names": json.dumps(list(names)),
        "dialect": network.dialect.name,
        "header": json.dumps(vars(header)),
        **trees,
    }


def read_description(
    metadata: Mapping[str, str], where: Where
) -> tuple[Network, Header, tuple[str, ...]]:
    """The inverse of `describe`; warnings about options came when the file was written.

    Raises:
        DarkconvError: there is no cfg, or the rest is damaged.
    """
    if "cfg" not in metadata:
        raise DarkconvError("has no cfg in its metadata: darkconv did not write it", where=where)
    text = metadata["cfg"].encode("latin-1").decode("utf-8", "surrogateescape")
    trees = {
        name.removeprefix(TREE_PREFIX): parse_tree(content, file=where.file)
        for name, content in metadata.items()
        if name.startswith(TREE_PREFIX)
    }
    try:
        dialect = named_dialect(metadata["dialect"])
        header = Header(**json.loads(metadata["header"]))
        names = tuple(json.loads(metadata["names"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DarkconvError(f"damaged metadata: {error}", where=where) from error
    config = parse_cfg(text, file=where.file)
    network = build_network(config, dialect, trees=trees, notes=Notes())
    return network, header, names
