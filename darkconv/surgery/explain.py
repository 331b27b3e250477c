"""explain_layer: which channels of a layer live and die together, and why."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.spec import LayerSpec
from darkconv.errors import PlanError
from darkconv.surgery.channels import (
    ChannelClasses,
    Indices,
    Lock,
    find_classes,
    makes_channels,
)

SHOWN_SET = 16  # channels of a set that a text lists


@dataclass(frozen=True, eq=False)
class Bond:
    """Channels of a layer that share their fate with channels of the same other layers.

    Attributes:
        channels: sorted, of the layer that was asked about.
        labels: (n,) their classes.
        sets: (n, k) the channels of each class, which can only live or die together.
        partners: other layers that make channels of the same classes.
        same: whether those are the channels of the same numbers.
        reasons: layers that bind them, each with what it does.
        lock: why they cannot go, if so.
    """

    channels: Indices
    labels: Indices
    sets: Indices
    partners: tuple[int, ...]
    same: bool
    reasons: tuple[tuple[int, str], ...]
    lock: Lock | None


def explain_layer(classes: ChannelClasses, index: int) -> list[Bond]:
    """The bonds of a layer's channels, those with alike ones together."""
    labels = classes.of(index)
    alike: dict[tuple[object, ...], list[int]] = {}
    for label in np.unique(labels).tolist():
        partners = _partners(classes, index, label)
        count = int((labels == label).sum())
        key = (classes.locks.get(label), partners, count)
        alike.setdefault(key, []).append(label)
    bonds = [_bond(classes, index, members) for members in alike.values()]
    return sorted(bonds, key=lambda bond: int(bond.channels[0]))


def _partners(classes: ChannelClasses, index: int, label: int) -> tuple[int, ...]:
    others = (layer.index for layer in classes.makers if layer.index != index)
    return tuple(other for other in others if label in classes.of(other))


def _bond(classes: ChannelClasses, index: int, members: Sequence[int]) -> Bond:
    """The bond of classes that are alike."""
    own = [np.flatnonzero(classes.of(index) == label) for label in members]
    partners = _partners(classes, index, members[0])
    same = all(
        np.array_equal(np.flatnonzero(classes.of(other) == label), channels)
        for other in partners
        for label, channels in zip(members, own, strict=True)
    )
    labels = np.array(members)
    return Bond(
        channels=np.sort(np.concatenate(own)),
        labels=labels,
        sets=np.stack(own),
        partners=partners,
        same=same,
        reasons=tuple(binding_layers(classes, labels)),
        lock=classes.locks.get(members[0]),
    )


def binding_layers(classes: ChannelClasses, labels: Indices) -> Iterator[tuple[int, str]]:
    """Layers that join channels of some classes, each with what it does."""
    for layer in classes.network.layers:
        if layer.shared is not None and np.isin(classes.of(layer.index), labels).any():
            yield layer.index, f"uses the arrays of layer {layer.shared}"
        elif not makes_channels(layer) and _joins(classes, layer, labels):
            yield layer.index, layer.spec.binding


def _joins(classes: ChannelClasses, layer: Layer, labels: Indices) -> bool:
    """Whether a layer that has channels of these classes makes them one, or filters them."""
    outputs = classes.of(layer.index)
    inputs = np.concatenate([classes.of(source) for source in layer.sources])
    if layer.spec.binding == LayerSpec.binding or not np.isin(outputs, labels).any():
        return False
    rows = [layer.spec.ties(layer.in_shapes), layer.spec.bound_inputs(layer.in_shapes)]
    for bound in rows:
        joined = (bound >= 0).sum(axis=1) > 1
        if np.isin(inputs[bound[joined]], labels).any():
            return True
    spread = np.isin(outputs, labels).sum() > np.isin(inputs, labels).sum()
    return bool(spread or layer.slots)


def explain_layers(
    network: Network, layers: Sequence[int], keep: Mapping[int, Indices] | None = None
) -> str:
    """Say of layers which of their channels live and die together, and why.

    Args:
        network: whose layers they are.
        layers: their indices.
        keep: the channels that stay, of layers that lose some: what goes is said too.

    Raises:
        PlanError: a layer that the network does not have.
    """
    last = len(network.layers) - 1
    for index in layers:
        if not 0 <= index <= last:
            raise PlanError("explain", expected=f"a layer from 0 to {last}", found=index)
    classes = find_classes(network)
    return "\n\n".join(format_bonds(classes, index, keep) for index in layers)


def format_bonds(
    classes: ChannelClasses, index: int, keep: Mapping[int, Indices] | None = None
) -> str:
    """The explanation of a layer as text; see `explain_layers`."""
    network = classes.network
    layer = network.layers[index]
    lines = [f"layer {index} [{layer.type}]: {layer.out_shape.c} channels"]
    if keep is not None and index in keep:
        gone = np.setdiff1d(np.arange(layer.out_shape.c), keep[index])
        lines.append(f"  removed: {numbered('channel', gone)}")
    for bond in explain_layer(classes, index):
        lines.append(f"  {numbered('channel', bond.channels)} {_fate(classes, bond)}")
        for other, reason in bond.reasons:
            lines.append(f"    layer {other} [{network.layers[other].type}] {reason}")
    return "\n".join(lines)


def _fate(classes: ChannelClasses, bond: Bond) -> str:
    if bond.lock is not None:
        return f"cannot go: {lock_text(classes, bond.lock)}"
    count, each = bond.sets.shape
    text = "can go one by one"
    if each > 1:
        first = format_channels(bond.sets[0][:SHOWN_SET])
        more = ", ..." if each > SHOWN_SET else ""
        rest = f"in {count} sets of {each}, the first is {first}{more}" if count > 1 else "together"
        text = f"can only go {rest}"
    return text + _company(classes, bond)


def _company(classes: ChannelClasses, bond: Bond) -> str:
    if not bond.partners:
        return ""
    layers = numbered("layer", np.array(bond.partners))
    if bond.same:
        return f", with the same channels of {layers}"
    other = bond.partners[0]
    theirs = format_channels(np.flatnonzero(classes.of(other) == bond.labels[0]))
    first = "the first" if bond.sets.shape[1] > 1 else bond.sets[0, 0]
    return f", with channels of {layers}: {first} with {theirs} of layer {other}"


def lock_text(classes: ChannelClasses, lock: Lock) -> str:
    """Why channels cannot go, and whose doing it is."""
    if lock.layer == NETWORK_INPUT:
        return lock.reason
    return f"{lock.reason} (layer {lock.layer} [{classes.network.layers[lock.layer].type}])"


def numbered(noun: str, numbers: Indices) -> str:
    """`layer 4`, `layers 4, 7-9`."""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {format_channels(numbers)}"


def format_channels(channels: Indices) -> str:
    """Sorted numbers in short: `0-3, 7, 9-11`."""
    breaks = np.flatnonzero(np.diff(channels) != 1) + 1
    runs = [run.tolist() for run in np.split(channels, breaks)]
    return ", ".join(f"{a[0]}-{a[-1]}" if len(a) > 1 else str(a[0]) for a in runs if a)
