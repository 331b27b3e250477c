"""What a file of another format says about the Darknet model in it, as text under plain keys."""

import json
from collections.abc import Mapping, Sequence

from darkconv.core.model import Header
from darkconv.core.names import Names
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.core.tree import Tree
from darkconv.darknet.cfg import format_cfg, parse_cfg
from darkconv.darknet.data import format_names, format_tree, parse_tree
from darkconv.darknet.dialect import named_dialect
from darkconv.encodings import as_bytes, as_plain, encoded, from_bytes, from_plain
from darkconv.errors import DarkconvError, DatasetError, Where, shortened

TREE_PREFIX = "tree:"
NAMES_FILE = "names_file"
"""Key of the text of the names file, a character for each byte."""


def describe(network: Network, header: Header, names: Sequence[str]) -> dict[str, str]:
    """The cfg, class names, dialect, weights header and class trees."""
    return {
        "cfg": as_bytes(format_cfg(network.config)),
        **describe_names(names),
        "dialect": network.dialect.name,
        "header": json.dumps(vars(header)),
        **describe_trees(network),
    }


def describe_trees(network: Network) -> dict[str, str]:
    """Return the class trees, each under `tree:` and the name that the cfg has for it."""
    return {
        as_plain(TREE_PREFIX + name): as_plain(format_tree(tree))
        for name, tree in network.trees.items()
    }


def read_trees(metadata: Mapping[str, str], where: Where) -> dict[str, Tree]:
    """Return what `describe_trees` was given.

    Raises:
        DarkconvError: a tree is damaged.
        ValueError: a text is.
    """
    texts = {from_plain(key): text for key, text in metadata.items()}
    return {
        key.removeprefix(TREE_PREFIX): parse_tree(from_plain(text), file=where.file)
        for key, text in texts.items()
        if key.startswith(TREE_PREFIX)
    }


def describe_names(names: Sequence[str]) -> dict[str, str]:
    """Return class names as a JSON list, which any program can read, and what it cannot hold.

    That is the text of the names file, where some name is marked `dont_show`, has bytes that are
    no UTF-8, or lines end otherwise: a character for each of its bytes.
    """
    plain = list(map(_readable, names))
    text = format_names(names)
    told = {"names": json.dumps(plain)}
    if text != "".join(f"{name}\n" for name in plain):
        told[NAMES_FILE] = as_bytes(text)
    return told


def read_described_names(metadata: Mapping[str, str]) -> Names:
    """Return what `describe_names` was given.

    Raises:
        ValueError: it is something else, or there are two lists that differ.
        KeyError: there are no names.
        DatasetError: a name that cannot be one.
    """
    names = parse_names(metadata["names"])
    if NAMES_FILE not in metadata:
        return Names(names)
    try:
        text = from_bytes(metadata[NAMES_FILE])
    except UnicodeEncodeError:
        raise ValueError(f"{NAMES_FILE} has characters that are no bytes") from None
    found = Names.parse(text)
    if tuple(map(_readable, found)) != names:
        raise ValueError(f"names and {NAMES_FILE} have other class names")
    return found


def _readable(name: str) -> str:
    r"""Return a name with bytes that are no UTF-8 as `\xff`."""
    return encoded(name).decode("utf-8", "backslashreplace")


def read_description(metadata: Mapping[str, str], where: Where) -> tuple[Network, Header, Names]:
    """The inverse of `describe`; warnings about options came when the file was written.

    Raises:
        DarkconvError: there is no cfg, or the rest is damaged.
    """
    if "cfg" not in metadata:
        raise DarkconvError("has no cfg in its metadata: darkconv did not write it", where=where)
    try:
        trees = read_trees(metadata, where)
        text = cfg_text(metadata["cfg"])
        dialect = named_dialect(metadata["dialect"])
        header = parse_header(metadata["header"])
        names = read_described_names(metadata)
    except DatasetError as error:
        raise error.at(where) from None
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
        return from_bytes(text)
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
