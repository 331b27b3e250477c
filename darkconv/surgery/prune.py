"""prune: a model without the channels that a plan removes."""

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
    """Return a smaller model without the channels that a plan removes.

    Compensation is exact for constant channels, except at the borders of feature maps: if a layer
    pads its input, its windows contain less of the constant there than its single bias states. It
    is exact everywhere for channels that are always zero, and for constants that only layers
    without padding read (1x1 kernels, connected layers). After `[deconvolutional]` with a stride it
    is only the best guess. Layers that share arrays get no compensation.

    Args:
        model: the model that the plan was made for; it stays unchanged.
        plan: says which channels to keep.
        compensate: if True, replace each removed channel by its mean activation, which passes
            through the weights of the layers that read it into their biases. Otherwise a removed
            channel counts as zero, and the result equals the original with those channels masked.
        profile: gives means of channels that the plan does not have; without it they count as zero.

    Raises:
        PlanError: the plan is for another model, empties a layer, names channels that do not exist
            or cannot be removed, or separates channels that live or die together.

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
    """Warn of removed channels without a mean if the plan has means of other channels."""
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
    """Return the mean of each channel if it is known, else 0.

    Args:
        network: the network of the plan.
        plan: gives means, which take precedence.
        profile: gives means that the plan does not have; None if there is none.

    Returns:
        float64 (out_channels,) by layer index.
    """
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
    """Return the biases, or rolling means, that replace the average effect of removed inputs."""
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
    """Return (in_channels,) the mean of each removed input channel, and 0 for kept ones."""
    parts = []
    for source, shape in zip(layer.sources, layer.in_shapes, strict=True):
        lost = np.zeros(shape.c) if source < 0 else means[source].copy()
        lost[channels[source]] = 0
        parts.append(lost)
    return np.concatenate(parts) if parts else np.zeros(0)


def _response(layer: Layer, slot: Slot, weights: Array, lost: Doubles) -> Doubles:
    """Return the output of a layer's weights for constant inputs."""
    assert slot.in_axis is not None
    out_axis = slot.out_axis or 0  # sub-layers that keep all rows have no output axis
    matrix = np.moveaxis(weights, (out_axis, slot.in_axis), (0, 1)).astype(np.float64)
    return layer.spec.constant_response(matrix, lost)


def _shifted(small: Model, prefix: str, shift: Doubles) -> tuple[str, Array]:
    """Return the key and array that take the shift up: a bias, or a mean to subtract."""
    mean = f"{prefix}rolling_mean"
    key = mean if mean in small.arrays else f"{prefix}biases"
    signed = -shift if key == mean else shift
    return key, frozen(small.arrays[key] + signed.ravel().astype(np.float32))
