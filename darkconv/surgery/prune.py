"""prune: a model without the channels that a plan gives up."""

import logging
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.model import Array, Model, replace_arrays
from darkconv.core.network import Layer, Network
from darkconv.core.removal import Channels, keep_channels, surviving_channels
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen
from darkconv.errors import PlanError, Where
from darkconv.surgery.checking import checked_keep
from darkconv.surgery.explain import format_channels
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.profile import Profile

logger = logging.getLogger("darkconv")

Doubles = npt.NDArray[np.float64]


@checked
def prune(
    model: Model, plan: PrunePlan, *, compensate: bool = True, profile: Profile | None = None
) -> Model:
    """Remove the channels that a plan gives up; the result is a smaller model.

    Compensation is exact for channels that are constant, except at the borders of maps: where
    a layer pads its input, its windows hold less of the constant there than the one bias says.
    Constant zero is exact everywhere, and so is every constant that only layers without padding
    read (1x1 kernels, connected layers). Behind `[deconvolutional]` with a stride, and in
    layers that share arrays, which get no compensation, it is no more than the best guess.

    Args:
        model: the one that the plan was made for; is not changed.
        plan: which channels stay.
        compensate: replace each removed channel by its mean activation, which goes through the
            weights of the layers that read it into their biases. Without, a removed channel
            counts as zero, and the result equals the original with those channels masked.
        profile: means for channels that the plan has none for; they count as zero otherwise.

    Raises:
        PlanError: a plan for another model, one that empties a layer, names channels that are
            not there or cannot go, or splits what can only live or die together.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> model = load_digits10()
        >>> small = dc.prune(model, dc.plan(model, score="l1", keep=0.5))
        >>> model.network.parameters, small.network.parameters
        (158045, 42301)
    """
    network = model.network
    if plan.model != fingerprint(model):
        raise PlanError(
            f"the plan is for another model than {network.file}",
            where=Where(file=plan.file),
            hint="it fits only the network, input size and weights that it was made with",
        )
    if profile is not None:
        profile.check_is_of(model)
    kept = checked_keep(network, plan)
    small = keep_channels(model, kept)
    if not compensate:
        return small
    channels = surviving_channels(network, kept)
    means = removed_means(network, plan, profile)
    _warn_of_unknown(network, plan, profile, channels)
    return replace_arrays(small, dict(_shifts(model, small, channels, means)))


def _warn_of_unknown(
    network: Network, plan: PrunePlan, profile: Profile | None, channels: Mapping[int, Channels]
) -> None:
    """Warn of removed channels without a mean, in a plan that has means of others."""
    if not plan.means or profile is not None:
        return
    for layer in network.layers:
        gone = np.setdiff1d(np.arange(layer.out_shape.c), channels[layer.index])
        known = plan.means.get(layer.index, {})
        unknown = [channel for channel in gone.tolist() if channel not in known]
        if unknown:
            where = network.where(layer.index)
            text = format_channels(np.array(unknown))
            logger.warning("%s: no mean is known of channels %s: taken for zero", where, text)


def removed_means(network: Network, plan: PrunePlan, profile: Profile | None) -> dict[int, Doubles]:
    """(out_channels,) of each layer: the mean of channels where it is known, else 0."""
    means = {}
    for layer in network.layers:
        values = np.zeros(layer.out_shape.c)
        if profile is not None:
            values[:] = profile.layers[layer.index].mean
        for channel, mean in plan.means.get(layer.index, {}).items():
            values[channel] = mean
        means[layer.index] = values
    return means


def _shifts(
    model: Model,
    small: Model,
    channels: Mapping[int, Channels],
    means: Mapping[int, Doubles],
) -> "list[tuple[str, Array]]":
    """Biases, or rolling means, that take up what removed inputs gave on average."""
    changed = []
    lenders = {layer.shared for layer in model.network.layers}
    for layer in model.network.layers:
        lost = _lost_input(layer, channels, means)
        if not lost.any() or layer.index in lenders:  # one bias cannot serve several inputs
            continue
        for slot in layer.slots:
            if slot.in_axis is None:
                continue
            key = f"{layer.index}.{slot.name}"
            shift = _response(layer, slot, model.arrays[key], lost)
            if slot.out_axis is not None:
                shift = shift[channels[layer.index]]
            changed.append(_shifted(small, key.removesuffix("weights"), shift))
    return changed


def _lost_input(
    layer: Layer, channels: Mapping[int, Channels], means: Mapping[int, Doubles]
) -> Doubles:
    """(in_channels,) mean of each input channel that goes, 0 of those that stay."""
    parts = []
    for source, shape in zip(layer.sources, layer.in_shapes, strict=True):
        lost = np.zeros(shape.c) if source < 0 else means[source].copy()
        lost[channels[source]] = 0
        parts.append(lost)
    return np.concatenate(parts) if parts else np.zeros(0)


def _response(layer: Layer, slot: Slot, weights: Array, lost: Doubles) -> Doubles:
    """What constant inputs give behind the weights, as the layer says."""
    assert slot.in_axis is not None
    out_axis = slot.out_axis or 0  # sub-layers whose rows all stay name none
    matrix = np.moveaxis(weights, (out_axis, slot.in_axis), (0, 1)).astype(np.float64)
    return layer.spec.constant_response(matrix, lost)


def _shifted(small: Model, prefix: str, shift: Doubles) -> tuple[str, Array]:
    """The array of the small model that takes the shift up: a bias, or a mean to subtract."""
    mean = f"{prefix}rolling_mean"
    key = mean if mean in small.arrays else f"{prefix}biases"
    signed = -shift if key == mean else shift
    return key, frozen(small.arrays[key] + signed.ravel().astype(np.float32))
