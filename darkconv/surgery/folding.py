"""fold_batchnorm: batch norm is folded into the weights and biases before it.

Layers that cannot be folded keep their batch norm, and `plan_folding` says why. The result is meant
for inference; training works better with batch norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from darkconv.core.finite import has_root
from darkconv.core.model import Array, Model
from darkconv.core.network import Layer, Network
from darkconv.core.section import Config
from darkconv.core.unchanging import frozen
from darkconv.errors import WeightsError
from darkconv.layers.folding import fold_norm
from darkconv.layers.recurrent import Recurrent

NORM_ARRAYS = ("scales", "rolling_mean", "rolling_variance")
NORM_OPTIONS = ("batch_normalize", "cbn")
LOADING_OPTIONS = ("dontload", "dontloadscales", "numload")
"""Options that keep arrays out of the file, where folded arrays must be."""


@dataclass(frozen=True)
class Folding:
    """The effect of `fold_batchnorm` on a network.

    Attributes:
        folded: indices of the layers whose batch norm is folded into their weights, and of those
            that share these arrays.
        left: indices of the layers that keep their batch norm, each with the reason.
    """

    folded: tuple[int, ...]
    left: Mapping[int, str]


def plan_folding(network: Network) -> Folding:
    """Find which batch norms can be folded, and why the others cannot.

    Args:
        network: the network to examine.

    Returns:
        The layers that are folded, and those that are not.
    """
    reasons = {
        layer.index: _reason_to_leave(layer) for layer in network.layers if _is_normalized(layer)
    }
    owners = {index for index, reason in reasons.items() if not reason}
    borrowers = {layer.index for layer in network.layers if layer.shared in owners}
    left = {index: reason for index, reason in reasons.items() if reason}
    return Folding(tuple(sorted(owners | borrowers)), left)


def fold_batchnorm(model: Model) -> Model:
    """Return a model with the same outputs and fewer arrays: y = w'x + b' replaces batch norm.

    Convolutional, deconvolutional and connected layers are folded, in double precision and with the
    divisor of the dialect; their `batch_normalize` becomes 0. Layers that share arrays follow the
    layer that owns them. Programs that divide by something else than Darknet (OpenCV adds 1e-6 to
    the variance) compute Darknet's values from the folded files.

    Args:
        model: the original model, which stays unchanged; without batch norm it is returned itself.

    Raises:
        WeightsError: folded values of an array are not finite.
    """
    network = model.network
    plan = plan_folding(network)
    if not plan.folded:
        return model
    folded: dict[str, Array] = {}
    for index in plan.folded:
        if network.layers[index].shared is None:
            folded |= _folded_arrays(model, network.layers[index])
    plain = folded_network(network, plan)
    arrays = {
        key: folded[key] if key in folded else model.arrays[key]
        for key, _, _ in plain.keyed_slots()
    }
    return replace(model, network=plain, arrays=arrays)


def folded_network(network: Network, plan: Folding) -> Network:
    """Return the network without the batch norms that a plan folds, with all arrays stored.

    Args:
        network: the original network.
        plan: the layers to fold.
    """
    config = network.config
    for index in plan.folded:
        config = _without_norm(config, network.layers[index])
    return network.with_config(config)


def _is_normalized(layer: Layer) -> bool:
    return any(slot.name.endswith("rolling_variance") for slot in layer.slots)


def _reason_to_leave(layer: Layer) -> str:
    spec = layer.spec
    if isinstance(spec, Recurrent):
        return "inside a recurrent layer it stays, as in Darknet's own tool"
    if not any(slot.name == "weights" for slot in layer.slots):
        return "it stands alone: there are no weights of its own to fold it into"
    if getattr(spec, "xnor", False) and not spec.dialect.xnor_uses_folded_weights:
        return "xnor takes the signs of the weights before batch norm"
    return ""


def _without_norm(config: Config, layer: Layer) -> Config:
    """Return the cfg with a layer's batch norm switched off and all its arrays stored."""
    present = (o for o in (*NORM_OPTIONS, *LOADING_OPTIONS) if getattr(layer.spec, o, False))
    return config.with_section(layer.index + 1, dict.fromkeys(present, 0))


def _folded_arrays(model: Model, layer: Layer) -> dict[str, Array]:
    """Return the weights and biases of a layer with its batch norm folded into them."""
    arrays = {slot.name: model.arrays[f"{layer.index}.{slot.name}"] for slot in layer.slots}
    (axis,) = (slot.out_axis for slot in layer.slots if slot.name == "weights")
    assert axis is not None
    with np.errstate(all="ignore"):
        weights, biases = fold_norm(model.dialect, arrays, axis=axis)
    folded = {"biases": frozen(biases), "weights": frozen(weights)}
    for name, values in folded.items():
        if not np.isfinite(values).all():
            raise _not_finite(model.network, layer, name, arrays)
    return {f"{layer.index}.{name}": values for name, values in folded.items()}


def _not_finite(
    network: Network, layer: Layer, name: str, arrays: Mapping[str, Array]
) -> WeightsError:
    broken = [key for key, values in arrays.items() if not np.isfinite(values).all()]
    variances = arrays["rolling_variance"]
    if not broken and has_root(network.dialect, variances).all():
        return WeightsError(
            f"folding gives {name} beyond float32", where=network.where(layer.index)
        )
    return WeightsError(
        f"folding gives {name} that are not finite",
        where=network.where(layer.index),
        expected="finite arrays, and no variance below zero",
        found=f"values in its {broken[0]} that are not finite"
        if broken
        else f"{float(variances.min()):g}",
        hint="the training has diverged, or the weights are another network's",
    )
