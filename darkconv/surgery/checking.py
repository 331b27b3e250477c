"""Checks that a plan fits a network, with a message for each way in which it may not."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from darkconv.core.network import Layer, Network
from darkconv.core.removal import Channels, surviving_channels
from darkconv.errors import PlanError, Where
from darkconv.surgery.channels import ChannelClasses, find_classes
from darkconv.surgery.explain import binding_layers, format_channels, lock_text, numbered
from darkconv.surgery.plan import PrunePlan

SHOWN = 10  # number of channels that a message lists


def checked_keep(network: Network, plan: PrunePlan) -> dict[int, Channels]:
    """Return the sorted channels that a plan keeps in the layers that make channels.

    Args:
        network: the network to prune.
        plan: the plan to check.

    Returns:
        int64 channel indices (from 0) by layer index.

    Raises:
        PlanError: a layer does not exist or is another than the plan says, channels do not exist or
            are listed twice, a layer would be empty, channels cannot be removed, or the lists of
            tied layers contradict each other.
    """
    kept = {index: _sorted(network, plan, index) for index in plan.keep}
    classes = find_classes(network)
    makers = {layer.index for layer in classes.makers}
    made = {index: channels for index, channels in kept.items() if index in makers}
    for index in plan.means:
        _check_means(network, plan, index)
    _check_classes(classes, made, plan.file)
    channels = surviving_channels(network, made)
    for index, own in kept.items():
        if not np.array_equal(channels[index], own):
            raise PlanError(
                "the layers that make its channels keep others",
                where=_place(network, index, plan.file),
                expected=_shown(channels[index]),
                found=_shown(own),
            )
    return made


def _place(network: Network, index: int, file: str | None) -> Where:
    """Return the layer's place in the file of the plan, or in the cfg without a file."""
    if file is None:
        return network.where(index)
    return Where(file=file, layer=index, section=network.layers[index].type)


def _sorted(network: Network, plan: PrunePlan, index: int) -> Channels:
    """Return the sorted channels of a layer after checks that need only this layer."""
    layer = _layer(network, plan, index)
    where = _place(network, index, plan.file)
    _check_declared(layer, plan.declared.get(index, (None, None)), where)
    total, kept = layer.out_shape.c, np.asarray(plan.keep[index])
    if not len(kept):
        raise PlanError("the plan empties it", where=where, expected="at least one channel")
    if kept.dtype.kind not in "iu" or kept.ndim != 1:
        raise PlanError(where=where, expected="a list of channels", found=kept.tolist())
    outside = kept[(kept < 0) | (kept >= total)]
    if len(outside):
        raise PlanError(
            where=where, expected=f"channels from 0 to {total - 1}", found=_shown(outside)
        )
    values, counts = np.unique(kept, return_counts=True)
    if len(values) < len(kept):
        twice = _shown(values[counts > 1])
        raise PlanError("channels are listed more than once", where=where, found=twice)
    return values.astype(np.int64)


def _layer(network: Network, plan: PrunePlan, index: int) -> Layer:
    if not 0 <= index < len(network.layers):
        raise PlanError(
            f"{network.file} has no such layer",
            where=Where(file=plan.file, layer=index),
            expected=f"a layer from 0 to {len(network.layers) - 1}",
        )
    return network.layers[index]


def _check_means(network: Network, plan: PrunePlan, index: int) -> None:
    total = _layer(network, plan, index).out_shape.c
    for channel in plan.means[index]:
        if not 0 <= channel < total:
            where = Where(option="means")
            raise PlanError(
                where=_place(network, index, plan.file).inside(where),
                expected=f"channels from 0 to {total - 1}",
                found=channel,
            )


def _check_declared(layer: Layer, declared: tuple[str | None, int | None], where: Where) -> None:
    kind, count = declared
    if kind is not None and kind != layer.type:
        raise PlanError(where=where, expected=f"[{layer.type}]", found=f"[{kind}]")
    if count is not None and count != layer.out_shape.c:
        raise PlanError(where=where, expected=f"{layer.out_shape.c} channels", found=count)


def _check_classes(classes: ChannelClasses, made: Mapping[int, Channels], file: str | None) -> None:
    """Raise an error for locked channels that are removed, and for groups removed only in part."""
    gone, stays = (np.zeros(classes.count, bool) for _ in range(2))
    for layer in classes.makers:
        labels = classes.of(layer.index)
        kept = _mask(layer, made)
        gone[labels[~kept]] = True
        stays[labels[kept]] = True
    for layer in classes.makers:
        labels, kept = classes.of(layer.index), _mask(layer, made)
        locked = ~kept & ~classes.free[labels]
        if locked.any():
            lock = classes.locks[int(labels[locked][0])]
            raise PlanError(
                f"{_named(np.flatnonzero(locked))} cannot go: {lock_text(classes, lock)}",
                where=_place(classes.network, layer.index, file),
            )
        split = ~kept & (gone & stays)[labels]
        if split.any():
            raise _split_error(classes, made, layer, np.flatnonzero(split), file)


def _mask(layer: Layer, made: Mapping[int, Channels]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(layer.out_shape.c, bool)
    mask[made.get(layer.index, slice(None))] = True
    return mask


def _split_error(
    classes: ChannelClasses,
    made: Mapping[int, Channels],
    loser: Layer,
    channels: Channels,
    file: str | None,
) -> PlanError:
    """Return the error for removed channels whose channel groups are kept in part."""
    network, labels = classes.network, np.unique(classes.of(loser.index)[channels])
    for keeper in classes.makers:
        left = _mask(keeper, made) & np.isin(classes.of(keeper.index), labels)
        if left.any():
            break
    of_layer = "" if keeper is loser else f" of layer {keeper.index}"
    reasons = (
        f"layer {index} [{network.layers[index].type}] {reason}"
        for index, reason in binding_layers(classes, labels)
    )
    return PlanError(
        f"removed are {_named(channels)}, but not {_named(np.flatnonzero(left))}{of_layer}: "
        "they can only live or die together",
        where=_place(network, loser.index, file),
        hint="; ".join(reasons),
    )


def _named(channels: Channels) -> str:
    return numbered("channel", channels[:SHOWN]) + (", ..." if len(channels) > SHOWN else "")


def _shown(channels: Channels) -> str:
    text = format_channels(channels[:SHOWN])
    return text + (", ..." if len(channels) > SHOWN else "")
