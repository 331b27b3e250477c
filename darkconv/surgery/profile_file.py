"""The file of a profile: an npz archive with a JSON head; messages name what is wrong with one."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.errors import PlanError, Where, shortened
from darkconv.files import PathLike, write_bytes
from darkconv.files.archive import Archive, ArchiveError, open_archive

Values = npt.NDArray[Any]
Statistics = Mapping[str, Any]

FORMAT = 1
HEAD = "profile"
SUFFIX = ".npy"
MOST = 1 << 29
"""A profile takes at most this number of bytes in memory, enough for 700,000 channels."""
COUNT = "count"
PER_CHANNEL = ("mean", "deviations", "effect", "residual")
HISTOGRAM = "histogram"
NAMES = (COUNT, *PER_CHANNEL, HISTOGRAM)
OPTIONAL = ("effect", "residual")
SIGNED = "mean"


def write_profile(
    path: PathLike, head: Mapping[str, Any], layers: Mapping[int, Statistics]
) -> None:
    """Write a profile as an npz archive.

    Args:
        path: path of the file.
        head: the fields of the profile that are not arrays.
        layers: by layer index, the fields of `LayerStatistics`.

    Raises:
        DarkconvError: the file cannot be written.
    """
    arrays = {
        f"{index}.{name}": value
        for index, layer in layers.items()
        for name, value in layer.items()
        if value is not None
    }
    text = json.dumps({"format": FORMAT, **head})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{HEAD: np.array(text)}, **arrays)  # type: ignore[arg-type]
    write_bytes(path, [buffer.getbuffer()])


def read_profile(path: PathLike, *, bins: int) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """Read a profile that `write_profile` wrote.

    Args:
        path: path of the file.
        bins: number of bins that the histograms must have.

    Returns:
        The head, and by layer index the fields of `LayerStatistics`.

    Raises:
        PlanError: the file is not a profile; the message says what is wrong, and where.
    """
    where = Where(file=os.fspath(path))
    try:
        with open_archive(path, most=MOST) as archive:
            return _head(archive, where), _layers(archive, bins, where)
    except OSError as error:
        raise PlanError(f"cannot read: {error.strerror}", where=where) from error
    except ArchiveError as error:
        raise PlanError(f"cannot be read as a profile: {error}", where=where) from error


def _head(archive: Archive, where: Where) -> dict[str, Any]:
    if HEAD + SUFFIX not in archive.members:
        raise PlanError("is not a profile: it has no head", where=where)
    place = where.inside(Where(option=HEAD))
    try:
        head = json.loads(str(archive.read_array(HEAD)))
    except ArchiveError:
        raise
    except (ValueError, RecursionError) as error:
        raise PlanError("is not well-formed JSON", where=place) from error
    if not isinstance(head, dict):
        raise PlanError(where=place, expected="an object in braces", found=shortened(repr(head)))
    found = head.pop("format", None)
    if found != FORMAT:
        raise PlanError(
            where=place,
            expected=f"format {FORMAT}",
            found=shortened(repr(found)),
            hint="a newer darkconv wrote it" if type(found) is int and found > FORMAT else None,
        )
    _check_head(head, place)
    return {key: head[key] for key in ("model", "pictures", "notes")}


def _check_head(head: Mapping[str, Any], where: Where) -> None:
    """Raise an error for fields of another type."""
    pictures = head.get("pictures")
    for key, is_sound, expected in (
        ("model", isinstance(head.get("model"), str), "a text"),
        ("pictures", type(pictures) is int and pictures >= 1, "a number above 0"),
        ("notes", isinstance(head.get("notes"), dict), "an object in braces"),
    ):
        if not is_sound:
            found = shortened(json.dumps(head.get(key)))
            raise PlanError(key, where=where, expected=expected, found=found)


def _layers(archive: Archive, bins: int, where: Where) -> dict[int, dict[str, Any]]:
    layers: dict[int, set[str]] = {}
    for member in archive.members:
        entry = member.removesuffix(SUFFIX)
        if entry == HEAD:
            continue
        number, _, name = entry.partition(".")
        is_known = number.isascii() and number.isdigit() and len(number) < 10 and name in NAMES
        if not is_known or member != f"{int(number)}.{name}{SUFFIX}":
            raise PlanError(
                "is not a profile", where=where, found=f"a member {shortened(repr(member))}"
            )
        layers.setdefault(int(number), set()).add(name)
    return {
        index: _statistics(archive, index, names, bins, where)
        for index, names in sorted(layers.items())
    }


def _statistics(
    archive: Archive, index: int, names: set[str], bins: int, where: Where
) -> dict[str, Any]:
    """Return the arrays of a layer after a check."""
    for name in NAMES:
        if name not in names and name not in OPTIONAL:
            raise PlanError("is missing", where=where.inside(Where(layer=index, option=name)))
    found = {name: archive.read_array(f"{index}.{name}") for name in NAMES if name in names}
    channels = found[SIGNED].size
    for name, values in found.items():
        _check(name, values, channels, bins, where.inside(Where(layer=index, option=name)))
    return {**found, COUNT: int(found[COUNT])}


def _check(name: str, values: Values, channels: int, bins: int, where: Where) -> None:
    """Raise an error for values that cannot be statistics."""
    shapes: dict[str, tuple[int, ...]] = {COUNT: (), HISTOGRAM: (channels, bins)}
    shape, kind = shapes.get(name, (channels,)), "float64" if name in PER_CHANNEL else "int64"
    if values.shape != shape or values.dtype != kind:
        raise PlanError(
            where=where, expected=f"{kind} {shape}", found=f"{values.dtype} {values.shape}"
        )
    bad = values[~np.isfinite(values)]
    if bad.size:
        raise PlanError(where=where, expected="finite numbers", found=bad.flat[0])
    least = 1 if name == COUNT else 0
    if name != SIGNED and values.size and values.min() < least:
        raise PlanError(where=where, expected=f"{least} or more", found=values.min())
