"""Safe reading of YAML: only texts, lists and mappings of limited size, and nothing is run."""

from collections.abc import Iterator
from typing import Any

from darkconv.core.names import Names, on_one_line
from darkconv.encodings import keeps_bytes
from darkconv.errors import DatasetError, Where
from darkconv.libraries import telling_missing

SUFFIXES = (".yaml", ".yml")
LONGEST = 250_000
"""A text has at most this number of characters; the longest in circulation has 30,000."""
DEEPEST = 20
"""Lists and mappings are nested at most this deeply."""
MOST_NAMES = 100_000
MOST_VALUES = LONGEST
"""A document has at most this number of texts, lists and mappings with its aliases expanded."""

_AS_PRIVATE = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_AS_KEPT = {private: kept for kept, private in _AS_PRIVATE.items()}

Yaml = Any
"""A text, a list, or a dict whose keys are texts. Numbers and words such as `no` stay texts."""


def parse_yaml(text: str, where: Where) -> Yaml:
    """Parse a YAML text; all scalar values stay texts.

    Args:
        text: the YAML text.
        where: place of the file, used in messages.

    Raises:
        DatasetError: the text is too long, nested too deeply or not YAML, or its aliases expand to
            too many values (a short text can stand for an endless one).
        MissingDependencyError: PyYAML is not installed.
    """
    if len(text) > LONGEST:
        found = f"{len(text):,}"
        raise DatasetError(where=where, expected=f"at most {LONGEST:,} characters", found=found)
    with telling_missing("reading YAML"):
        import yaml
    try:
        if not keeps_bytes(text):
            return _value(_composed(text, where), where, iter(range(MOST_VALUES)))
        node = _composed(text.translate(_AS_PRIVATE), where)
        return _with_bytes(_value(node, where, iter(range(MOST_VALUES))))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        what = error.problem or error.context
        raise DatasetError(
            f"is not well-formed YAML: {what}", where=where and Where(file=where.file, line=line)
        ) from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise DatasetError(f"is not well-formed YAML: {first}", where=where) from None


def _composed(text: str, where: Where) -> Any:
    """Return PyYAML's node of a text.

    It stops at the first node that is nested too deeply, because PyYAML's time grows with the
    square of the depth.
    """
    import yaml

    loader = yaml.BaseLoader(text)
    compose, depth = loader.compose_node, 0

    def bounded(parent: Any, index: Any) -> Any:
        nonlocal depth
        if depth > DEEPEST:
            raise _too_deep(where, loader.peek_event())
        depth += 1
        node = compose(parent, index)
        depth -= 1
        return node

    loader.compose_node = bounded
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


def _too_deep(where: Where, part: Any) -> DatasetError:
    place = Where(file=where.file, line=part.start_mark.line + 1)
    return DatasetError("is YAML that is nested too deeply", where=place)


def _value(node: Any, where: Where, left: Iterator[int], depth: int = 0) -> Yaml:
    """Return the value of a node; tags are ignored, and the keys of a mapping must be texts.

    Args:
        node: node of PyYAML; an alias is the same node again, which may also contain itself.
        where: place of the file, used in messages.
        left: yields once for each further value that is allowed.
        depth: depth of the node.
    """
    import yaml

    if node is None:
        return ""
    place = Where(file=where.file, line=node.start_mark.line + 1)
    if depth > DEEPEST:
        raise _too_deep(where, node)
    if next(left, None) is None:
        expected = f"YAML of at most {MOST_VALUES:,} values, its aliases written out"
        raise DatasetError(where=place, expected=expected, found="more")
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, where, left, depth + 1) for one in node.value]
    found: dict[str, Yaml] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DatasetError(where=place, expected="a text as key", found="a list or mapping")
        if key.value in found:
            twice = Where(file=where.file, line=key.start_mark.line + 1)
            raise DatasetError("has a key twice", where=twice, found=key.value)
        found[key.value] = _value(value, where, left, depth + 1)
    return found


def _with_bytes(value: Yaml) -> Yaml:
    """Return a value with the bytes that were kept as they are (`darkconv.encodings`).

    PyYAML accepts no lone surrogates, so private use characters replace them while it parses.
    """
    if isinstance(value, dict):
        return {key.translate(_AS_KEPT): _with_bytes(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_bytes(one) for one in value]
    return value.translate(_AS_KEPT)


def yaml_names(content: Yaml, where: Where) -> Names | None:
    """Return the class names of a description such as `data.yaml`; None if it has none.

    They are a list, or a mapping from 0, 1, 2 ... to names. A names file that some tools state
    instead is not opened.

    Args:
        content: the parsed YAML.
        where: place of the file, used in messages.

    Raises:
        DatasetError: `names` has another form, or a name is invalid.
    """
    names = content.get("names") if isinstance(content, dict) else None
    place = Where(file=where.file, option="names")
    if isinstance(names, dict):
        names = _by_number(names, place)
    if names is None or names == "" or isinstance(names, str):
        return None
    if not all(isinstance(name, str) for name in names):
        raise DatasetError(where=place, expected="a text for each class", found="others")
    bare = map(on_one_line, names)
    try:
        return Names(name or str(index) for index, name in enumerate(bare)) or None
    except DatasetError as error:
        raise error.at(place) from None


def _by_number(names: dict[str, Yaml], where: Where) -> list[Yaml]:
    """Return the values of a mapping whose keys are 0 to its length - 1."""
    if len(names) > MOST_NAMES:
        raise DatasetError(where=where, expected=f"at most {MOST_NAMES:,}", found=len(names))
    missing = next((str(i) for i in range(len(names)) if str(i) not in names), None)
    if missing is not None:
        found = f"no {missing}, but {next(key for key in names if not _is_below(key, len(names)))}"
        expected = f"the classes 0 to {len(names) - 1}"
        raise DatasetError(where=where, expected=expected, found=found)
    return [names[str(index)] for index in range(len(names))]


def _is_below(key: str, limit: int) -> bool:
    return key.isascii() and key.isdigit() and str(int(key[:9])) == key and int(key) < limit
