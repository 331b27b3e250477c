"""Read HDF5 files from unknown sources: only what lies in the file, never what it links to."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any

from darkconv.errors import WeightsError, Where, shortened
from darkconv.files import PathLike
from darkconv.imports.found import FoundArray, Values
from darkconv.libraries import telling_missing

DEEPEST = 24
"""The deepest nesting of groups that is followed."""
MOST_OBJECTS = 100_000
MOST_TEXT = 1 << 26
"""The most bytes of a text that are read."""
FILTERS = (None, "gzip", "lzf")
PACKED = 64
"""The most that a compressed array may take, as a multiple of its stored size."""
FAILURES = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)
"""The exceptions that h5py raises on damaged files."""


class Hdf5:
    """An open HDF5 file.

    Attributes:
        file: its name for messages.
        arrays: its arrays by path, in the order of the file; their values are read on demand.
    """

    def __init__(self, reader: Any, library: Any, file: str) -> None:
        """List the arrays of the file, without reading their values."""
        self.file = file
        self._reader, self._library = reader, library
        self._count = 0
        with self.told_failures():
            self.arrays: dict[str, FoundArray] = dict(self._walk(reader, "", frozenset(), 0))

    @contextmanager
    def told_failures(self) -> Iterator[None]:
        """Turn h5py's exceptions in this block into a WeightsError.

        Yields:
            Nothing.

        Raises:
            WeightsError: the file is damaged.
        """
        try:
            yield
        except FAILURES as error:
            text = shortened(str(error), 120)
            raise WeightsError(
                f"cannot be read as HDF5: {text}", where=Where(file=self.file)
            ) from error

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group as texts, lists and numbers.

        Args:
            path: the group's path; "" for the root.

        Raises:
            WeightsError: the file is damaged, or has no such group.
        """
        with self.told_failures():
            owner = self._reader[path or "/"]
            return {name: _plain(owner.attrs[name]) for name in owner.attrs}

    def names(self, path: str, attribute: str) -> list[str]:
        """Return a list of texts, which Keras spreads over several attributes if it is long.

        Args:
            path: the group's path; "" for the root.
            attribute: the attribute's name; its parts are called NAME0, NAME1 and so on.
        """
        found = self.attributes(path)
        if attribute in found:
            parts = [found[attribute]]
        else:
            numbered = (f"{attribute}{i}" for i in range(len(found)))
            parts = [found[name] for name in numbered if name in found]
        return [text for part in parts for text in ([part] if isinstance(part, str) else part)]

    def _walk(
        self, group: Any, path: str, above: frozenset[Any], depth: int
    ) -> Iterator[tuple[str, FoundArray]]:
        place = self._library.h5o.get_info(group.id)
        here = (place.fileno, place.addr)
        if here in above or depth > DEEPEST:
            raise self._error("its groups lie within each other", path)
        for name in group:
            self._count += 1
            if self._count > MOST_OBJECTS:
                raise self._error(f"it has more than {MOST_OBJECTS} objects", path)
            inner = f"{path}/{name}" if path else name
            link = group.get(name, getlink=True)
            if not isinstance(link, self._library.HardLink):
                raise self._error("is a link to another place, which is never followed", inner)
            value = group[name]
            if isinstance(value, self._library.Group):
                yield from self._walk(value, inner, above | {here}, depth + 1)
            elif isinstance(value, self._library.Dataset):
                yield inner, self._found(value, inner)

    def _found(self, data: Any, path: str) -> FoundArray:
        if data.external or data.is_virtual:
            raise self._error("lies in another file, which is never opened", path)
        if data.compression not in FILTERS or data.shape is None:
            raise self._error("is packed in a way that is not read", path)
        stored, size = data.id.get_storage_size(), data.size * data.dtype.itemsize
        is_packed = data.compression is not None
        if size > (stored * PACKED if is_packed else stored):
            raise self._error(f"claims {size} bytes, and has {stored}", path)
        return FoundArray(path, tuple(data.shape), data.dtype.name, partial(self._read, data))

    def _read(self, data: Any) -> Values:
        with self.told_failures():
            values: Values = data[()]
        return values

    def _error(self, message: str, path: str) -> WeightsError:
        return WeightsError(
            f"cannot be read: {shortened(path)} {message}" if path else message,
            where=Where(file=self.file),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:MOST_TEXT].decode("utf-8", "replace")
    if hasattr(value, "tolist"):
        value = value.tolist()
        return [_plain(one) for one in value] if isinstance(value, list) else _plain(value)
    return value


def open_hdf5(source: PathLike | IO[bytes], file: str, stack: ExitStack) -> Hdf5:
    """Open an HDF5 file, which is closed when a stack closes.

    Args:
        source: the path, or an open binary file.
        file: the file's name for messages.
        stack: the stack that closes it.

    Raises:
        WeightsError: the file is damaged, or links to other files.
        MissingDependencyError: h5py is not installed.
    """
    with telling_missing("reading HDF5 files", extra="h5"):
        import h5py
    try:
        reader = stack.enter_context(h5py.File(source, "r"))
    except FAILURES as error:
        text = shortened(str(error), 120)
        raise WeightsError(f"cannot be read as HDF5: {text}", where=Where(file=file)) from error
    return Hdf5(reader, h5py, file)


def parse_config(text: Any, file: str) -> Any:
    """Parse the JSON description of a Keras model; no class that it names is created.

    Args:
        text: the value of an attribute `model_config`, or the bytes of a config.json.
        file: the file's name for messages.

    Raises:
        WeightsError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError("its model_config is no JSON", where=Where(file=file)) from error
