"""Pair the layers of a file with the layers of a cfg: by number, by order, or by shape alone.

Every array is compared with the shape that the cfg's layer requires. The error about a mismatch
names the layer, the array and both shapes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from darkconv.core.network import Layer, Network
from darkconv.errors import WeightsError, Where, shortened
from darkconv.imports.found import INNER, RATIOS, Checkpoint, Unit
from darkconv.imports.misfits import (
    count_error,
    is_depthwise,
    is_folded,
    is_normalized,
    kernel_error,
    misfit,
    misfit_error,
    missing_error,
    part_fits,
    slot_of,
    stranger_error,
    unweighted_error,
)

CONVOLUTION, DEPTHWISE, DENSE = "Conv2D", "DepthwiseConv2D", "Dense"
"""The kinds of layers that Keras counts separately."""
MOST_NAMED = 6
"""The most layers, or groups of layers, that a message names."""


@dataclass(frozen=True)
class LayerPairing:
    """The pairing of a file's layers with a cfg's layers.

    Attributes:
        units: the file's layers by layer index; every layer that has arrays is in it.
        rule: how the layers were paired, in words.
        notes: what the user should know about the pairing, a sentence each.
        folded: indices of the layers that have batch norm in the cfg, and in the file have it
            folded into their weights.
    """

    units: Mapping[int, Unit]
    rule: str
    notes: tuple[str, ...] = ()
    folded: tuple[int, ...] = ()


def fit(network: Network, checkpoint: Checkpoint) -> LayerPairing:
    """Find the file's layer for each layer of a cfg that has arrays.

    Args:
        network: the network of the cfg.
        checkpoint: the file, whose `rule` says how its layers are paired.

    Returns:
        The pairing.

    Raises:
        WeightsError: the file belongs to another network, has too few or too many layers, or
            nothing tells which layer is which.
    """
    layers = [layer for layer in network.layers if layer.slots]
    units = checkpoint.units
    if checkpoint.rule == "numbers":
        return _by_number(network, layers, checkpoint)
    if checkpoint.rule == "counters":
        return _by_counters(network, layers, checkpoint)
    fits_in_order = len(units) == len(layers) and not _first_misfit(units, layers)
    if checkpoint.rule == "order" and fits_in_order:
        return _by_order(units, layers, checkpoint)
    return _by_shape(network, layers, checkpoint)


def _fit(
    units: Mapping[int, Unit], layers: Iterable[Layer], rule: str, *notes: str
) -> LayerPairing:
    folded = tuple(layer.index for layer in layers if is_folded(units[layer.index], layer))
    return LayerPairing(units, rule, tuple(note for note in notes if note), folded)


def _by_number(network: Network, layers: Sequence[Layer], checkpoint: Checkpoint) -> LayerPairing:
    """Pair layers by the layer index in each name."""
    wanted = {layer.index: layer for layer in layers}
    given: dict[int, Unit] = {
        unit.index: unit for unit in checkpoint.units if unit.index is not None
    }
    ordered = [given[index] for index in sorted(given)]
    is_clean = given.keys() == wanted.keys() and len(given) == len(checkpoint.units)
    if is_clean and not _first_misfit(ordered, layers):
        return _fit(given, layers, f"names ({checkpoint.tool})")
    units = checkpoint.units
    if len(units) == len(layers) and not _first_misfit(units, layers):
        note = "the numbers in the names are not the cfg's, so the order of the layers was taken"
        return _by_order(units, layers, checkpoint, note)
    for index in sorted(given.keys() & wanted.keys()):
        problem = misfit(given[index], wanted[index])
        if problem:
            raise misfit_error(network, wanted[index], given[index], problem, checkpoint)
    for index, unit in given.items():
        if RATIOS in unit.parts and index not in wanted and _is_shortcut(network, index):
            raise unweighted_error(network, unit, checkpoint)
    raise count_error(network, layers, checkpoint, given)


def _is_shortcut(network: Network, index: int) -> bool:
    return index < len(network.layers) and network.layers[index].type == "shortcut"


def _by_order(
    units: Sequence[Unit], layers: Sequence[Layer], checkpoint: Checkpoint, *notes: str
) -> LayerPairing:
    """Pair layers in the order in which they come."""
    by_names = bool(checkpoint.tool)
    rule = f"names ({checkpoint.tool})" if by_names else "order"
    pairs = {layer.index: unit for layer, unit in zip(layers, units, strict=True)}
    return _fit(pairs, layers, rule, *notes, "" if by_names else exchange_note(layers))


def exchange_note(layers: Sequence[Layer]) -> str:
    """Return a note on the layers that only their order tells apart.

    Args:
        layers: the layers of the cfg that have arrays.

    Returns:
        A sentence, or "" if all layers differ in their shapes.
    """
    groups: dict[object, list[int]] = {}
    for layer in layers:
        groups.setdefault(_signature(layer), []).append(layer.index)
    alike = [group for group in groups.values() if len(group) > 1]
    if not alike:
        return ""
    named = "; ".join(_numbers(group) for group in alike[:MOST_NAMED])
    more = f"; and {len(alike) - MOST_NAMED} more groups" if len(alike) > MOST_NAMED else ""
    return (
        f"{sum(map(len, alike))} layers have the shapes of others, and nothing but their order in "
        f"the file tells them apart: {named}{more}"
    )


def _numbers(indices: Sequence[int]) -> str:
    few = ", ".join(map(str, indices[:MOST_NAMED]))
    return f"{few} ..." if len(indices) > MOST_NAMED else few


def _signature(layer: Layer) -> object:
    return tuple((slot.name, tuple(n for n in slot.shape if n != 1)) for slot in layer.slots)


def _by_shape(network: Network, layers: Sequence[Layer], checkpoint: Checkpoint) -> LayerPairing:
    """Pair layers by their shapes, each of which has to be unique."""
    units = checkpoint.units
    if len(units) != len(layers):
        raise count_error(network, layers, checkpoint)
    takers = {unit.name: [one for one in layers if not misfit(unit, one)] for unit in units}
    for unit in units:
        if not takers[unit.name]:
            raise stranger_error(network, layers, unit, checkpoint)
    wanted = {layer.index: [u for u in units if not misfit(u, layer)] for layer in layers}
    for layer in layers:
        if not wanted[layer.index]:
            raise missing_error(network, layer, checkpoint)
    doubtful = [index for index, found in wanted.items() if len(found) > 1]
    if not doubtful:
        pairs = {index: found[0] for index, found in wanted.items()}
        return _fit(pairs, layers, "shape: every layer has shapes that no other has")
    others = f", and {len(doubtful) - MOST_NAMED} more" if len(doubtful) > MOST_NAMED else ""
    first = wanted[doubtful[0]]
    raise WeightsError(
        "nothing tells which of its layers is which: neither names nor order fit the cfg, and "
        "layers of equal shapes could be exchanged",
        where=Where(file=checkpoint.file),
        expected=f"one layer for each of {network.file}",
        found=f"several for layers {', '.join(map(str, doubtful[:MOST_NAMED]))}{others}; layer "
        f"{doubtful[0]} could be {' or '.join(shortened(unit.name) for unit in first[:3])}",
        hint=None
        if checkpoint.rule != "none"
        else "this kind of file is sorted by name; a .pth keeps the order of the program",
    )


def _by_counters(network: Network, layers: Sequence[Layer], checkpoint: Checkpoint) -> LayerPairing:
    """Pair the k-th layer of each kind with the k-th of that kind, as Keras counts its layers."""
    kernels = [unit for unit in checkpoint.units if not unit.is_norm_alone]
    norms = [unit for unit in checkpoint.units if unit.is_norm_alone]
    normed = [layer for layer in layers if is_normalized(layer)]
    with_weights = [layer for layer in layers if slot_of(layer, "weights")]
    if len(norms) not in (0, len(normed)) or len(kernels) != len(with_weights):
        raise count_error(network, layers, checkpoint)
    notes: list[str] = []
    pairs = _pair_kernels(network, with_weights, kernels, bool(norms), checkpoint, notes)
    for layer, norm in zip(normed, norms, strict=False):
        if layer.index not in pairs:
            pairs[layer.index] = norm
            continue
        unit = pairs[layer.index]
        own = {(INNER if k == "biases" else k): part for k, part in unit.parts.items()}
        pairs[layer.index] = replace(unit, parts=own | dict(norm.parts), epsilon=norm.epsilon)
    for layer in layers:
        problem = misfit(pairs[layer.index], layer)
        if problem:
            raise misfit_error(network, layer, pairs[layer.index], problem, checkpoint)
    rule = f"numbers in the names ({checkpoint.tool})" if checkpoint.tool else "order"
    return _fit(pairs, layers, rule, *notes)


def _pair_kernels(
    network: Network,
    layers: Sequence[Layer],
    kernels: Sequence[Unit],
    has_norms: bool,
    checkpoint: Checkpoint,
    notes: list[str],
) -> dict[int, Unit]:
    """Pair kernels with layers kind by kind, as Keras counts them.

    The layers of a kind are in one order; or else those with and those without biases are, each.
    """
    groups: dict[str, tuple[list[Layer], list[Unit]]] = {}
    for unit in kernels:
        groups.setdefault(_kind_of_unit(unit), ([], []))[1].append(unit)
    for layer in layers:
        kind = _kind_of_layer(layer)
        groups.setdefault(kind if kind in groups else CONVOLUTION, ([], []))[0].append(layer)
    pairs: dict[int, Unit] = {}
    for wanted, given in groups.values():
        if len(wanted) != len(given):
            raise count_error(network, layers, checkpoint)
        if all(_kernel_fits(u, layer) for u, layer in zip(given, wanted, strict=True)):
            pairs |= {layer.index: unit for layer, unit in zip(wanted, given, strict=True)}
        elif has_norms:
            pairs |= _apart(network, wanted, given, checkpoint, notes)
        else:
            layer, unit = next(
                (one, u) for u, one in zip(given, wanted, strict=True) if not _kernel_fits(u, one)
            )
            raise kernel_error(network, layer, unit, checkpoint)
    return pairs


def _kind_of_unit(unit: Unit) -> str:
    if unit.is_depthwise:
        return DEPTHWISE
    return DENSE if len(unit.parts["weights"].found.shape) == 2 else CONVOLUTION


def _kind_of_layer(layer: Layer) -> str:
    """Return the Keras class of a layer's kernel."""
    slot = slot_of(layer, "weights")
    if is_depthwise(layer):
        return DEPTHWISE
    return DENSE if slot is not None and len(slot.shape) == 2 else CONVOLUTION


def _apart(
    network: Network,
    layers: Sequence[Layer],
    kernels: Sequence[Unit],
    checkpoint: Checkpoint,
    notes: list[str],
) -> dict[int, Unit]:
    """Pair layers with batch norm by number, and those without by number, or else by shape."""
    pairs: dict[int, Unit] = {}
    for has_norm in (True, False):
        wanted = [layer for layer in layers if is_normalized(layer) == has_norm]
        given = [unit for unit in kernels if ("biases" not in unit.parts) == has_norm]
        if len(wanted) != len(given):
            raise count_error(network, layers, checkpoint)
        ordered = list(zip(wanted, given, strict=True))
        if not all(_kernel_fits(unit, layer) for layer, unit in ordered):
            ordered = _single(network, wanted, given, checkpoint)
            notes.append("the order of layers without batch norm is another: told by their shapes")
        pairs |= {layer.index: unit for layer, unit in ordered}
    return pairs


def _single(
    network: Network, layers: Sequence[Layer], kernels: Sequence[Unit], checkpoint: Checkpoint
) -> list[tuple[Layer, Unit]]:
    """Pair each layer with the only kernel of its shape."""
    pairs = []
    for layer in layers:
        fitting = [unit for unit in kernels if _kernel_fits(unit, layer)]
        if len(fitting) != 1:
            unit = fitting[0] if fitting else kernels[layers.index(layer)]
            raise kernel_error(network, layer, unit, checkpoint)
        pairs.append((layer, fitting[0]))
    if len({unit.name for _, unit in pairs}) < len(pairs):
        raise count_error(network, layers, checkpoint)
    return pairs


def _kernel_fits(unit: Unit, layer: Layer) -> bool:
    slot, part = slot_of(layer, "weights"), unit.parts.get("weights")
    return slot is not None and part is not None and part_fits(part, slot)


def _first_misfit(units: Sequence[Unit], layers: Sequence[Layer]) -> str:
    pairs = zip(units, layers, strict=False)
    return next((text for text in (misfit(*pair) for pair in pairs) if text), "")
