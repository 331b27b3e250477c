"""The explanation why a weights file does not have the size that its cfg requires."""

from collections.abc import Iterator

from darkconv.core.model import Header
from darkconv.core.network import Layer, Network
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.layers.head import Head

HEADER_SIZES = (16, 20)
USUAL_VERSION = (0, 2)


def explain_size(
    path: str, found: int, network: Network, header: Header, cutoff: int | None
) -> WeightsError:
    """Return the error for a file of the wrong size: where it ends, and what would make it fit.

    Args:
        path: path of the weights file.
        found: size of the file in bytes.
        network: the network that the file should belong to.
        header: header of the file.
        cutoff: number of layers that the file should hold; None for all.
    """
    start = header.size(network.dialect)
    ends = list(_ends(network, start))
    limit = len(network.layers) if cutoff is None else cutoff
    expected = max((end for end, layer, _, _ in ends if layer.index < limit), default=start)
    scope = network.file if cutoff is None else f"{_first_layers(cutoff)} of {network.file}"
    return WeightsError(
        _where_it_ends(found, expected, start, ends),
        where=Where(file=path),
        expected=f"{expected} bytes for {scope}",
        found=found,
        hint="; ".join(_hints(found, expected, network, header, cutoff)) or None,
    )


End = tuple[int, Layer, str, int]
"""The offset after an array in bytes, its layer, its name and its size in bytes."""


def _ends(network: Network, position: int) -> Iterator[End]:
    for _, layer, slot in network.keyed_slots():
        if slot.stored_size:
            position += 4 * slot.stored_size
            yield position, layer, slot.name, 4 * slot.stored_size


def _where_it_ends(found: int, expected: int, start: int, ends: list[End]) -> str:
    if found > expected:
        surplus = found - expected
        return f"is {surplus} byte{'' if surplus == 1 else 's'} too long"
    end, layer, name, size = next(entry for entry in ends if entry[0] > found)
    if found < start:
        return "is too short for a header"
    present = found - (end - size)
    missing = f"{present} of {size} bytes of its {name}" if present else f"nothing of its {name}"
    return f"ends in layer {layer.index} [{layer.type}] with {missing}"


def _hints(
    found: int, expected: int, network: Network, header: Header, cutoff: int | None
) -> Iterator[str]:
    size = header.size(network.dialect)
    other = sum(HEADER_SIZES) - size
    if found - expected == other - size and (header.major, header.minor) != USUAL_VERSION:
        yield (
            f"of version {header.major}.{header.minor} the header has {size} bytes; with {other} "
            "the sizes would meet, so the version may be damaged"
        )
        return
    fits = [] if cutoff is not None else list(_fitting_options(found - expected, network))
    if fits:
        yield f"the sizes would meet with {' or '.join(fits)}"
    last = _last_whole_layer(found, network, header)
    if last is not None:
        yield _partial(last, network)
    if not fits and last is None:
        yield _what_happened(found - expected)


def _first_layers(count: int) -> str:
    return "the first layer" if count == 1 else f"the first {count} layers"


def _partial(last: int, network: Network) -> str:
    if last == max(layer.index for layer in network.layers if layer.slots):
        return "it holds all layers: the cutoff, or the .conv.N of its name, is wrong"
    return f"it ends exactly behind layer {last}: a partial file is read with cutoff={last + 1}"


def _what_happened(surplus: int) -> str:
    if surplus < 0:
        return "the download is incomplete, or the cfg describes another network"
    if surplus % 4:
        return "the file is damaged: arrays are made of 4 bytes each"
    return "the cfg describes another network"


def _last_whole_layer(found: int, network: Network, header: Header) -> int | None:
    by_layer = {
        layer.index: end for end, layer, _, _ in _ends(network, header.size(network.dialect))
    }
    return next((index for index, end in by_layer.items() if end == found), None)


def _fitting_options(surplus: int, network: Network) -> Iterator[str]:
    """Return option values, such as `classes=3` or `channels=1`, with which the size would fit."""
    per_class = 4 * sum(_floats_per_class(network, layer) for layer in network.heads)
    classes = {layer.spec.classes for layer in network.heads if isinstance(layer.spec, Head)}
    if per_class and surplus % per_class == 0 and len(classes) == 1:
        fitting = classes.pop() + surplus // per_class
        if fitting >= 1:
            yield f"classes={fitting}"
    channels = network.input_shape.c
    per_channel = _bytes_per_channel(network)
    if per_channel and surplus % per_channel == 0:
        fitting = channels + surplus // per_channel
        if fitting >= 1:
            yield f"channels={fitting}"


def _floats_per_class(network: Network, head: Layer) -> int:
    """Return the stored values that one more class adds: a row of the layer before per anchor."""
    if not isinstance(head.spec, Head) or not head.sources or head.sources[0] < 0:
        return 0
    before = network.layers[head.sources[0]]
    per_row = sum(slot.stored_size // slot.shape[0] for slot in before.slots if slot.stored is None)
    return head.spec.rows_per_class * per_row


def _bytes_per_channel(network: Network) -> int:
    """Return the number of bytes that one more input channel adds."""
    if not network.input_shape.is_map:
        return 0
    values = {"channels": network.input_shape.c + 1}
    try:
        wider = network.with_config(network.config.with_section(0, values))
    except DarkconvError:
        return 0
    return 4 * (_stored(wider) - _stored(network))


def _stored(network: Network) -> int:
    return sum(slot.stored_size for _, _, slot in network.keyed_slots())
