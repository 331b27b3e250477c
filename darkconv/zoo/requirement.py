"""Compute the size that a cfg requires of its weights file, given the start of the file."""

import struct

from darkconv import layers as _layers  # noqa: F401 - fills the table of layer types
from darkconv.core.model import Header
from darkconv.core.network import build_network
from darkconv.core.section import Config
from darkconv.darknet.dialect import choose_dialect
from darkconv.darknet.mismatch import explain_size
from darkconv.darknet.signatures import recognise
from darkconv.darknet.weights import file_size
from darkconv.errors import WeightsError, Where

START = 512
"""Number of first bytes by which other files are recognised; the header is among them."""
_VERSION = struct.Struct("<iii")


def required_size(config: Config, file: str, start: bytes, size: int | None = None) -> int:
    """Return the size in bytes of a weights file that begins with some bytes.

    Args:
        config: the cfg of the network.
        file: name or address of the file, for errors.
        start: its first `START` bytes, or all if there are fewer.
        size: bytes of the whole file; None if unknown.

    Raises:
        WeightsError: the file is of another known format, or not of the size that the cfg requires.
    """
    found = recognise(start, len(start) if size is None else size)
    if found:
        raise WeightsError(
            f"is {found.what}, not a weights file", where=Where(file=file), hint=found.hint
        )
    header = Header(*_VERSION.unpack_from(start))
    network = build_network(config, choose_dialect(config, header))
    required = file_size(network, header)
    if size is not None and size != required:
        raise explain_size(file, size, network, header, None)
    return required


def usual_size(config: Config) -> int:
    """Return the size in bytes of a weights file with today's header.

    An old header is 4 bytes shorter.

    Args:
        config: the cfg of the network.
    """
    network = build_network(config, choose_dialect(config, None))
    return file_size(network, Header.new(network.dialect))
