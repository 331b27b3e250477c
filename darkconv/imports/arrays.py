"""Take the arrays of a cfg's layers from another tool's file, with the conversions they need."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from darkconv.core.dialect import Dialect
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.section import Config
from darkconv.core.unchanging import frozen
from darkconv.errors import WeightsError
from darkconv.imports.differences import epsilon_of
from darkconv.imports.fit import LayerPairing
from darkconv.imports.found import INNER, RATIOS, Checkpoint, Unit
from darkconv.imports.ratios import ratio_weights, with_relu

NORM_OPTIONS = ("batch_normalize", "cbn")


@dataclass(frozen=True)
class Taken:
    """The arrays that were read for a network.

    Attributes:
        network: the network that the arrays belong to; layers whose batch norm the file has folded
            into their weights have no batch norm in it.
        arrays: by "<layer>.<array>", in Darknet's file order; float32.
        count: the number of the file's arrays that were used.
        notes: the conversions that were made, a sentence each.
    """

    network: Network
    arrays: Mapping[str, Array]
    count: int
    notes: tuple[str, ...]


def take(
    network: Network, checkpoint: Checkpoint, fit: LayerPairing, bn_epsilon: float | None
) -> Taken:
    """Read the arrays of every layer of a network from a file.

    Args:
        network: the network of the cfg.
        checkpoint: the file, which has to be open still.
        fit: the file's layers by layer index.
        bn_epsilon: the epsilon that the file's batch norms add to the variance; None if unknown.

    Returns:
        The arrays, and the network that they belong to.

    Raises:
        WeightsError: an array holds no floating-point numbers, or has values that Darknet cannot
            express.
    """
    plain = network.with_config(without_norm(network, fit.folded)) if fit.folded else network
    weighted, ratio_notes = with_relu(plain, fit.units.items())
    plain = plain.with_config(weighted) if weighted is not plain.config else plain
    arrays: dict[str, Array] = {}
    for layer in plain.layers:
        if layer.slots:
            own = _layer_arrays(checkpoint, fit.units[layer.index], layer)
            arrays |= {f"{layer.index}.{slot.name}": own[slot.name] for slot in layer.slots}
    notes = [*ratio_notes, *_cast_notes(fit), *_inner_notes(fit), *_folded_notes(fit)]
    notes += _adapt_epsilon(arrays, plain, checkpoint, fit, bn_epsilon)
    count = sum(len(unit.parts) for unit in fit.units.values())
    return Taken(plain, arrays, count, tuple(notes))


def without_norm(network: Network, indices: tuple[int, ...]) -> Config:
    """Return a cfg in which some layers have no batch norm.

    Args:
        network: the network whose cfg is edited.
        indices: the layer indices, from 0.
    """
    config = network.config
    sections = list(config.sections)
    for index in indices:
        sections[index + 1] = sections[index + 1].without(NORM_OPTIONS)
    return type(config)(config.file, config.lead, tuple(sections))


def _layer_arrays(checkpoint: Checkpoint, unit: Unit, layer: Layer) -> dict[str, Array]:
    arrays = {}
    if RATIOS in unit.parts:
        return {"weights": ratio_weights(checkpoint.file, unit, layer)}
    for slot in layer.slots:
        part = unit.parts.get(slot.name)
        if part is not None:
            arrays[slot.name] = part.values(checkpoint.file, layer, slot.shape)
        else:
            value = 1 if slot.name == "scales" else 0
            arrays[slot.name] = frozen(np.full(slot.shape, value, np.float32))
    inner = unit.parts.get(INNER)
    if inner is not None:
        shift = inner.values(checkpoint.file, layer, arrays["rolling_mean"].shape)
        if shift.any():
            arrays["rolling_mean"] = frozen(arrays["rolling_mean"] - shift)
    if unit.is_norm_alone and "biases" in unit.parts and "biases" not in arrays:
        _check_no_biases(checkpoint, unit, layer)
    return arrays


def _check_no_biases(checkpoint: Checkpoint, unit: Unit, layer: Layer) -> None:
    part = unit.parts["biases"]
    if part.values(checkpoint.file, layer, part.shape).any():
        raise WeightsError(
            f"{checkpoint.file}: {part.found.name} is not zero, and a [batchnorm] of the pjreddie "
            f"dialect has no biases: layer {layer.index}",
            hint="--dialect alexeyab (dialect=) has them",
        )


def _cast_notes(fit: LayerPairing) -> list[str]:
    kinds = {part.found.dtype for unit in fit.units.values() for part in unit.parts.values()}
    notes = []
    for kind in sorted(kinds & {"float16", "bfloat16"}):
        notes.append(f"its {kind} numbers became float32, which holds them exactly")
    if "float64" in kinds:
        notes.append(
            "its float64 numbers were rounded to float32, as Darknet's files hold no other"
        )
    return notes


def _inner_notes(fit: LayerPairing) -> list[str]:
    count = sum(INNER in unit.parts for unit in fit.units.values())
    if not count:
        return []
    return [f"{count} convolutions have biases before their batch norm: taken off its mean"]


def _folded_notes(fit: LayerPairing) -> list[str]:
    if not fit.folded:
        return []
    return [
        f"the file has batch norm of {len(fit.folded)} layers in their weights already: their "
        "batch_normalize lines are taken out of the cfg"
    ]


def _adapt_epsilon(
    arrays: dict[str, Array],
    network: Network,
    checkpoint: Checkpoint,
    fit: LayerPairing,
    given: float | None,
) -> list[str]:
    """Add to the variances what the file's program adds to them beyond Darknet's epsilon."""
    dialect = network.dialect
    changed: dict[float, int] = {}
    for index, unit in fit.units.items():
        key = f"{index}.rolling_variance"
        epsilon = given if given is not None else unit.epsilon
        if epsilon is None or key not in arrays or epsilon == epsilon_of(dialect):
            continue
        arrays[key] = adapted_variance(arrays[key], epsilon, dialect)
        changed[epsilon] = changed.get(epsilon, 0) + 1
    whose = "as --bn-epsilon (bn_epsilon=) says" if given is not None else "as the file says"
    return [
        f"batch norm of {count} layers adds {epsilon:g} to the variance, {whose}; Darknet adds "
        f"{epsilon_of(dialect):g}: the difference was added to rolling_variance"
        for epsilon, count in changed.items()
    ]


def adapted_variance(variance: Array, epsilon: float, dialect: Dialect) -> Array:
    """Return the variance that makes Darknet divide by the same number as another program.

    Args:
        variance: rolling_variance of the file, float32.
        epsilon: the epsilon that the file's program adds under the root.
        dialect: the dialect of the result, whose epsilon of 1e-5 is subtracted. pjreddie's program
            computes sqrt(v) + 1e-6 instead on the CPU; this difference stays, since all models of
            that dialect have it.
    """
    difference = epsilon - epsilon_of(dialect)
    return frozen((variance.astype(np.float64) + difference).astype(np.float32))
