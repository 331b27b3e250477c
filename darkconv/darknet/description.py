"""What a file of another format says about the Darknet model in it, as text under plain keys."""

import json
from collections.abc import Mapping, Sequence

from darkconv.core.model import Header
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.darknet.cfg import format_cfg, parse_cfg
from darkconv.darknet.data import format_tree, parse_tree
from darkconv.darknet.dialect import named_dialect
from darkconv.errors import DarkconvError, Where, shortened

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
    trees = {
        name.removeprefix(TREE_PREFIX): parse_tree(content, file=where.file)
        for name, content in metadata.items()
        if name.startswith(TREE_PREFIX)
    }
    try:
        text = cfg_text(metadata["cfg"])
        dialect = named_dialect(metadata["dialect"])
        header = parse_header(metadata["header"])
        names = parse_names(metadata["names"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise damaged(error, where) from error
    config = parse_cfg(text, file=where.file)
    network = build_network(config, dialect, trees=trees, notes=Notes())
    return network, header, names


def damaged(error: Exception, where: Where) -> DarkconvError:
    """The error for metadata that cannot be read."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return DarkconvError(f"damaged metadata: {shortened(text)}", where=where)


def cfg_text(text: str) -> str:
    """The text of a cfg from that of its bytes, a character for each.

    Raises:
        ValueError: there are other characters.
    """
    try:
        return text.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("cfg has characters that are no bytes") from None


def parse_header(text: str) -> Header:
    """A weights header from its JSON.

    Raises:
        ValueError: it is something else, or does not fit a weights file.
    """
    numbers = json.loads(text)
    keys = ("major", "minor", "revision", "seen")
    if not isinstance(numbers, dict) or set(numbers) != set(keys):
        raise ValueError("header is no weights header")
    version = [numbers[key] for key in keys[:3]]
    if not all(type(n) is int and -(2**31) <= n < 2**31 for n in version):
        raise ValueError(f"header has version {version}")
    if type(numbers["seen"]) is not int or not 0 <= numbers["seen"] < 2**64:
        raise ValueError(f"header has seen={numbers['seen']}")
    return Header(**numbers)


def parse_names(text: str) -> tuple[str, ...]:
    """Class names from their JSON.

    Raises:
        ValueError: it is something else.
    """
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("names is no list of class names")
    return tuple(names)
