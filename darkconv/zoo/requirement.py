"""What a cfg requires of the file of its weights, which the file's start decides."""

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
"""Bytes by which other files are recognised; the header is among them."""
_VERSION = struct.Struct("<iii")


def required_size(config: Config, file: str, start: bytes, size: int | None = None) -> int:
    """Bytes of the weights file that begins so.

    Args:
        config: the network.
        file: name or address, for errors.
        start: its first `START` bytes, or all if there are less.
        size: of the whole file, if known.

    Raises:
        WeightsError: it is recognisably something else, or not of the size that the cfg requires.
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
    """Bytes of the weights file with the header of today; that of old files is 4 bytes shorter."""
    network = build_network(config, choose_dialect(config, None))
    return file_size(network, Header.new(network.dialect))
