"""The description of a Darknet model in a file of another format, as texts with plain keys."""

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
"""The key of the text of the names file, stored with one character per byte."""


def describe(network: Network, header: Header, names: Sequence[str]) -> dict[str, str]:
    """Return the description of a model: cfg, class names, dialect, weights header and class trees.

    Args:
        network: the network of the model.
        header: header of its weights file.
        names: class names in class order.

    Returns:
        Texts by key; the cfg is stored with one character per byte.
    """
    return {
        "cfg": as_bytes(format_cfg(network.config)),
        **describe_names(names),
        "dialect": network.dialect.name,
        "header": json.dumps(vars(header)),
        **describe_trees(network),
    }


def describe_trees(network: Network) -> dict[str, str]:
    """Return the texts of the class trees, with the keys `tree:` plus their names in the cfg.

    Args:
        network: the network that uses the trees.
    """
    return {
        as_plain(TREE_PREFIX + name): as_plain(format_tree(tree))
        for name, tree in network.trees.items()
    }


def read_trees(metadata: Mapping[str, str], where: Where) -> dict[str, Tree]:
    """Read the class trees from a description; the inverse of `describe_trees`.

    Args:
        metadata: texts by key; other keys are ignored.
        where: place of the file, used in messages.

    Raises:
        DarkconvError: a tree is damaged.
        ValueError: a text cannot be decoded.
    """
    texts = {from_plain(key): text for key, text in metadata.items()}
    return {
        key.removeprefix(TREE_PREFIX): parse_tree(from_plain(text), file=where.file)
        for key, text in texts.items()
        if key.startswith(TREE_PREFIX)
    }


def describe_names(names: Sequence[str]) -> dict[str, str]:
    """Return class names as a JSON list that any program can read, and what that cannot hold.

    The text of the names file is added, with one character per byte, if a name is marked
    `dont_show`, has bytes that are not UTF-8, or the line endings differ.

    Args:
        names: class names in class order.
    """
    plain = list(map(_readable, names))
    text = format_names(names)
    told = {"names": json.dumps(plain)}
    if text != "".join(f"{name}\n" for name in plain):
        told[NAMES_FILE] = as_bytes(text)
    return told


def read_described_names(metadata: Mapping[str, str]) -> Names:
    """Read class names from a description; the inverse of `describe_names`.

    Args:
        metadata: texts by key; other keys are ignored.

    Raises:
        ValueError: a text is malformed, or the two lists of names differ.
        KeyError: there are no names.
        DatasetError: a name is invalid.
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
    r"""Return a name in which bytes that are not UTF-8 are written as `\xff`."""
    return encoded(name).decode("utf-8", "backslashreplace")


def read_description(metadata: Mapping[str, str], where: Where) -> tuple[Network, Header, Names]:
    """Read network, weights header and class names from a description; the inverse of `describe`.

    There are no warnings about options, since they appeared when the file was written.

    Args:
        metadata: texts by key; other keys are ignored.
        where: place of the file, used in messages.

    Raises:
        DarkconvError: there is no cfg, or a text is damaged.
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
    """Return the error for metadata that cannot be read.

    Args:
        error: the exception raised while reading.
        where: place of the file.
    """
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    return DarkconvError(f"damaged metadata: {shortened(text)}", where=where)


def cfg_text(text: str) -> str:
    """Return the text of a cfg that is stored with one character per byte.

    Args:
        text: the stored text.

    Raises:
        ValueError: the text has characters that are not bytes.
    """
    try:
        return from_bytes(text)
    except UnicodeEncodeError:
        raise ValueError("cfg has characters that are no bytes") from None


def parse_header(text: str) -> Header:
    """Parse a weights header from JSON.

    Args:
        text: a JSON object with the keys major, minor, revision and seen.

    Raises:
        ValueError: the text is something else, or a number does not fit a weights file.
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
    """Parse class names from JSON.

    Args:
        text: a JSON list of texts.

    Raises:
        ValueError: the text is something else.
    """
    names = json.loads(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("names is no list of class names")
    return tuple(names)
