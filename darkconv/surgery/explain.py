"""explain_layer: the channels of a layer that live or die together, and the reasons."""

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

SHOWN_SET = 16  # number of channels of a set that a text lists


@dataclass(frozen=True, eq=False)
class Bond:
    """Channels of a layer whose channel groups include channels of the same other layers.

    Attributes:
        channels: sorted indices (from 0) in the layer that is explained.
        labels: int64 (n,): their channel groups.
        sets: int64 (n, k): the channels of each group, which live or die together.
        partners: indices of other layers that make channels of the same groups.
        same: True if these have the same channel indices.
        reasons: indices of the layers that tie them, each with what it does.
        lock: the reason why they cannot be removed; None if they can.
    """

    channels: Indices
    labels: Indices
    sets: Indices
    partners: tuple[int, ...]
    same: bool
    reasons: tuple[tuple[int, str], ...]
    lock: Lock | None


def explain_layer(classes: ChannelClasses, index: int) -> list[Bond]:
    """Return the bonds of a layer's channels; channels with the same bonds are combined.

    Args:
        classes: the channel groups of the network.
        index: layer index, from 0.
    """
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
    """Return the bond of channel groups that are alike."""
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
    """Iterate over the layers that join channels of some groups.

    Args:
        classes: the channel groups of the network.
        labels: int64 (n,): the groups in question.

    Returns:
        Layer indices (from 0), each with a text that says what the layer does.
    """
    for layer in classes.network.layers:
        if layer.shared is not None and np.isin(classes.of(layer.index), labels).any():
            yield layer.index, f"uses the arrays of layer {layer.shared}"
        elif not makes_channels(layer) and _joins(classes, layer, labels):
            yield layer.index, layer.spec.binding


def _joins(classes: ChannelClasses, layer: Layer, labels: Indices) -> bool:
    """Return True if a layer with channels of these groups joins them, or has arrays for them."""
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
    """Return a text that says which channels of layers live or die together, and why.

    Args:
        network: the network of the layers.
        layers: layer indices, from 0.
        keep: by layer index, the channels to keep; the text then names the removed ones too. None
            for no removal.

    Raises:
        PlanError: the network has no such layer.
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
    """Format the explanation of a layer; see `explain_layers`.

    Args:
        classes: the channel groups of the network.
        index: layer index, from 0.
        keep: by layer index, the channels to keep; None for no removal.
    """
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
    """Return the reason why channels cannot be removed, with the layer that causes it.

    Args:
        classes: the channel groups of the network.
        lock: the reason.
    """
    if lock.layer == NETWORK_INPUT:
        return lock.reason
    return f"{lock.reason} (layer {lock.layer} [{classes.network.layers[lock.layer].type}])"


def numbered(noun: str, numbers: Indices) -> str:
    """Format a noun with numbers: `layer 4`, `layers 4, 7-9`.

    Args:
        noun: in the singular.
        numbers: int64 (n,), ascending.
    """
    return f"{noun}{'s' if len(numbers) > 1 else ''} {format_channels(numbers)}"


def format_channels(channels: Indices) -> str:
    """Format numbers briefly: `0-3, 7, 9-11`.

    Args:
        channels: int64 (n,), ascending.
    """
    breaks = np.flatnonzero(np.diff(channels) != 1) + 1
    runs = [run.tolist() for run in np.split(channels, breaks)]
    return ", ".join(f"{a[0]}-{a[-1]}" if len(a) > 1 else str(a[0]) for a in runs if a)
