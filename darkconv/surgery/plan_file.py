"""The file of a plan: JSON that people read and edit, so each mistake gets a message."""

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darkconv.errors import PlanError, Where
from darkconv.files import PathLike
from darkconv.files.sizes import format_size

T = TypeVar("T")
Channels = npt.NDArray[np.int64]

FORMAT = 1
SHOWN = 40  # number of characters of an unknown value that a message repeats
MOST = 1 << 28
"""A plan has at most this number of bytes, enough for ten million channels."""
MOST_DIGITS = 40  # largest number of digits of a whole number
LARGEST_MEAN = float(np.finfo(np.float32).max)


def format_plan(content: Mapping[str, Any]) -> str:
    """Return the text of a plan's file, one line for each layer.

    Args:
        content: the plan as data, see `PrunePlan.to_dict`.
    """
    return (
        f'{{"darkconv_plan": {FORMAT},\n'
        f' "model": {json.dumps(content["model"])},\n'
        f' "notes": {json.dumps(content["notes"])},\n'
        f' "layers": {{{_lines(content["layers"])}\n }},\n'
        f' "means": {{{_lines(content["means"])}\n }}}}\n'
    )


def _lines(entries: Mapping[str, Any]) -> str:
    return ",".join(f'\n  "{index}": {json.dumps(entry)}' for index, entry in entries.items())


def read_plan(path: PathLike) -> dict[str, Any]:
    """Read the fields of a `PrunePlan` from its file.

    Args:
        path: path of the file.

    Raises:
        PlanError: the file is not a plan; the message says what is wrong, and where.
    """
    file = os.fspath(path)
    content = _mapping(_parsed(file), Where(file=file))
    where = Where(file=file)
    _check_format(content, where)
    layers = _by_number(content.get("layers"), Where(file=file, option="layers"))
    means = _by_number(content.get("means", {}), Where(file=file, option="means"))
    entries = {index: _mapping(entry, _at(file, index)) for index, entry in layers.items()}
    return {
        "model": _typed(content.get("model"), str, "a text", Where(file=file, option="model")),
        "keep": {index: _kept(entry, _at(file, index)) for index, entry in entries.items()},
        "means": {i: _means(entry, _at(file, i, "means")) for i, entry in means.items()},
        "notes": _mapping(content.get("notes", {}), Where(file=file, option="notes")),
        "declared": {index: _declared(e, _at(file, index)) for index, e in entries.items()},
        "file": file,
    }


def _at(file: str, layer: int, option: str | None = None) -> Where:
    return Where(file=file, layer=layer, option=option)


def _parsed(file: str) -> Any:
    where = Where(file=file)
    try:
        if os.path.getsize(file) > MOST:
            size = format_size(os.path.getsize(file))
            raise PlanError(f"is no plan: it has {size}", where=where)
        with open(file, encoding="utf-8") as opened:
            return json.load(
                opened,
                object_pairs_hook=lambda pairs: _unique(pairs, where),
                parse_int=lambda digits: _whole(digits, where),
            )
    except OSError as error:
        raise PlanError(f"cannot read: {error.strerror}", where=where) from None
    except json.JSONDecodeError as error:
        line = Where(file=file, line=error.lineno)
        raise PlanError(f"is not well-formed JSON: {error.msg}", where=line) from None
    except UnicodeDecodeError:
        raise PlanError("is no text", where=where) from None
    except RecursionError:
        raise PlanError("is not well-formed JSON: nested too deeply", where=where) from None


def _whole(digits: str, where: Where) -> int:
    if len(digits) > MOST_DIGITS:
        raise PlanError(f"has a number of {len(digits)} digits", where=where)
    return int(digits)


def _unique(pairs: list[tuple[str, Any]], where: Where) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise PlanError(f"has {_shown(key)} twice in one place", where=where)
        content[key] = value
    return content


def _check_format(content: Mapping[str, Any], where: Where) -> None:
    if "darkconv_plan" not in content:
        raise PlanError("is not a plan: it has no darkconv_plan", where=where)
    number = content["darkconv_plan"]
    if type(number) is not int or number != FORMAT:
        is_newer = type(number) is int and number > FORMAT
        raise PlanError(
            where=where.inside(Where(option="darkconv_plan")),
            expected=f"format {FORMAT}",
            found=_shown(number),
            hint="a newer darkconv wrote it" if is_newer else None,
        )


def _by_number(value: Any, where: Where) -> dict[int, Any]:
    """Return an object whose keys are numbers, as a dict with integer keys."""
    entries = _mapping(value, where)
    for key in entries:
        if not (key.isascii() and key.isdigit() and len(key) < SHOWN):
            raise PlanError(where=where, expected="numbers as keys", found=_shown(key))
    found = {int(key): entry for key, entry in entries.items()}
    if len(found) < len(entries):
        raise PlanError("names a number twice", where=where)
    return found


def _kept(entry: Mapping[str, Any], where: Where) -> Channels:
    place = where.inside(Where(option="keep"))
    listed = _typed(entry.get("keep"), list, "a list of channels", place)
    total = entry.get("channels")
    largest = int(np.iinfo(np.int64).max)
    limit = total if type(total) is int and total <= largest else largest
    expected = f"channels from 0 to {limit - 1}" if limit == total else "channels from 0"
    for channel in listed:
        if type(channel) is not int or not 0 <= channel < limit:
            raise PlanError(where=place, expected=expected, found=_shown(channel))
    return np.array(listed, np.int64)


def _means(value: Any, where: Where) -> dict[int, float]:
    found = _by_number(value, where)
    for channel, mean in found.items():
        if type(mean) not in (int, float) or not abs(mean) <= LARGEST_MEAN:
            raise PlanError(
                where=where, expected=f"a number for channel {channel}", found=_shown(mean)
            )
    return {channel: float(mean) for channel, mean in found.items()}


def _declared(entry: Mapping[str, Any], where: Where) -> tuple[str | None, int | None]:
    """Return type and number of channels, or None for what the entry does not tell."""
    kind, count = entry.get("type"), entry.get("channels")
    if kind is not None:
        _typed(kind, str, "a text", where.inside(Where(option="type")))
    if count is not None:
        _typed(count, int, "a number", where.inside(Where(option="channels")))
    return kind, count


def _mapping(value: Any, where: Where) -> dict[str, Any]:
    return _typed(value, dict, "an object in braces", where)


def _typed(value: Any, kind: type[T], expected: str, where: Where) -> T:
    if type(value) is not kind:
        found = "nothing" if value is None else _shown(value)
        raise PlanError(where=where, expected=expected, found=found)
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
