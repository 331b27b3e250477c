"""Compare the layers of a file with those of a cfg, and report what does not fit."""

from collections.abc import Mapping, Sequence

from darkconv.core.network import Layer, Network
from darkconv.core.spec import Slot
from darkconv.errors import WeightsError, Where, shortened
from darkconv.imports.found import INNER, NORM, RATIOS, Checkpoint, LayerArray, Unit

OPTIONAL = {"scales", "biases"}
"""The arrays that a batch norm may lack: they are ones and zeros then."""
OTHER = "it is another network's, or has another number of classes"
TURNED = "the axes of its weights are in another order than in other files of this kind"


def slot_of(layer: Layer, name: str) -> Slot | None:
    """Return the slot of a layer's array, or None if the layer has no such array.

    Args:
        layer: the layer of the cfg.
        name: Darknet's name of the array.
    """
    return next((slot for slot in layer.slots if slot.name == name), None)


def is_normalized(layer: Layer) -> bool:
    """Return True if a layer has batch norm.

    Args:
        layer: the layer of the cfg.
    """
    return slot_of(layer, "rolling_variance") is not None


def is_depthwise(layer: Layer) -> bool:
    """Return True if a layer has a kernel for each channel.

    Args:
        layer: the layer of the cfg.
    """
    groups = getattr(layer.spec, "group_count", 1)
    return groups > 1 and groups == layer.in_shapes[0].c


def is_folded(unit: Unit, layer: Layer) -> bool:
    """Return True if a layer has batch norm in the cfg, but not in the file.

    Args:
        unit: the layer of the file.
        layer: the layer of the cfg.
    """
    return is_normalized(layer) and not unit.has_norm


def misfit(unit: Unit, layer: Layer) -> str:
    """Return a text that says how a file's layer does not fit a cfg's layer, or "" if it fits.

    The cfg's batch norm may be folded into the file's weights, and may lack scales or biases.

    Args:
        unit: the layer of the file.
        layer: the layer of the cfg.
    """
    if RATIOS in unit.parts and layer.type == "shortcut":
        return _ratios_misfit(unit, layer)
    lacks_norm = is_folded(unit, layer) and {"weights", "biases"} <= unit.parts.keys()
    for slot in layer.slots:
        part = unit.parts.get(slot.name)
        if part is None:
            is_spare = lacks_norm and slot.name in NORM
            if not is_spare and not (unit.has_norm and slot.name in OPTIONAL):
                return f"{slot.name}: expected {_shown(slot.shape)}, found no such array"
        elif not part_fits(part, slot):
            return (
                f"{slot.name}: expected {_shown(slot.shape)}, found {part.found.name} "
                f"{_shown(part.found.shape)}"
            )
    names = {slot.name for slot in layer.slots}
    extra = [
        name for name in unit.parts if name not in names and not _is_harmless(name, unit, layer)
    ]
    if extra:
        part = unit.parts[extra[0]]
        return (
            f"the cfg's layer has no {extra[0]}, found {part.found.name} {_shown(part.found.shape)}"
        )
    return ""


def _ratios_misfit(unit: Unit, layer: Layer) -> str:
    """Return how the numbers that weight a [shortcut]'s sources do not fit, or ""."""
    part, sources = unit.parts[RATIOS], len(layer.sources)
    if part.shape == (sources,) and len(unit.parts) == 1:
        return ""
    return (
        f"weights: expected {sources}, one number for each source, found {part.found.name} "
        f"{_shown(part.found.shape)}"
    )


def unweighted_error(network: Network, unit: Unit, checkpoint: Checkpoint) -> WeightsError:
    """Return the error for a [shortcut] that is weighted in the file and not in the cfg.

    Args:
        network: the network of the cfg.
        unit: the layer of the file.
        checkpoint: the file, which the message names.
    """
    part = unit.parts[RATIOS]
    return WeightsError(
        f"does not fit {network.file}: {shortened(part.found.name)} weights the sources of layer "
        f"{unit.index} [shortcut], which the cfg does not weight",
        where=Where(file=checkpoint.file),
        hint="the program weights where the cfg has weights_type, whatever it says: give the layer "
        "weights_type=per_feature and weights_normalization=relu",
    )


def _is_harmless(name: str, unit: Unit, layer: Layer) -> bool:
    """Return True for biases that are added into another array."""
    if name == INNER:
        return is_normalized(layer)
    return name == "biases" and unit.is_norm_alone and layer.type == "batchnorm"


def part_fits(part: LayerArray, slot: Slot) -> bool:
    """Return True if an array of the file has the shape of a cfg's array.

    Args:
        part: the array of the file.
        slot: the array of the cfg.
    """
    if part.is_flat_map:
        return tuple(reversed(part.found.shape)) == slot.shape
    return part.fits(slot.shape)


def _shown(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def misfit_error(
    network: Network, layer: Layer, unit: Unit, problem: str, checkpoint: Checkpoint
) -> WeightsError:
    """Return the error for a layer that does not fit, with the array's name and both shapes.

    Args:
        network: the network of the cfg.
        layer: the layer of the cfg.
        unit: the layer of the file.
        problem: the text of `misfit`.
        checkpoint: the file, which the message names.
    """
    return WeightsError(
        f"does not fit {network.file}: layer {layer.index} [{layer.section.name}] is "
        f"{shortened(unit.name)} of the file, {problem}",
        where=Where(file=checkpoint.file),
        hint=TURNED if _is_turned(unit, layer) else OTHER,
    )


def _is_turned(unit: Unit, layer: Layer) -> bool:
    """Return True if the weights have the cfg's axes, but in another order."""
    slot, part = slot_of(layer, "weights"), unit.parts.get("weights")
    if slot is None or part is None or part_fits(part, slot):
        return False
    return sorted(part.shape) == sorted(slot.shape)


def kernel_error(
    network: Network, layer: Layer, unit: Unit, checkpoint: Checkpoint
) -> WeightsError:
    """Return the error for a layer whose weights have another shape.

    Args:
        network: the network of the cfg.
        layer: the layer of the cfg.
        unit: the layer of the file.
        checkpoint: the file, which the message names.
    """
    slot, part = slot_of(layer, "weights"), unit.parts.get("weights")
    found = f"{part.found.name} {_shown(part.found.shape)}" if part else "no weights"
    wanted = _shown(slot.shape) if slot else "none"
    return misfit_error(
        network,
        layer,
        unit,
        f"weights: expected {wanted} (Darknet's order), found {found}",
        checkpoint,
    )


def missing_error(network: Network, layer: Layer, checkpoint: Checkpoint) -> WeightsError:
    """Return the error for a layer of the cfg that the file does not have.

    Args:
        network: the network of the cfg.
        layer: the layer of the cfg.
        checkpoint: the file, which the message names.
    """
    shapes = ", ".join(f"{slot.name} {_shown(slot.shape)}" for slot in layer.slots)
    return WeightsError(
        f"does not fit {network.file}: no layer of the file is layer {layer.index} "
        f"[{layer.section.name}] with {shapes}",
        where=Where(file=checkpoint.file),
        hint=OTHER,
    )


def stranger_error(
    network: Network, layers: Sequence[Layer], unit: Unit, checkpoint: Checkpoint
) -> WeightsError:
    """Return the error for a layer of the file that the cfg does not have.

    Args:
        network: the network of the cfg.
        layers: the layers of the cfg that have arrays.
        unit: the layer of the file.
        checkpoint: the file, which the message names.
    """
    position = checkpoint.units.index(unit)
    layer = layers[position] if checkpoint.rule == "order" else None
    if layer is not None:
        return misfit_error(network, layer, unit, misfit(unit, layer), checkpoint)
    shapes = ", ".join(f"{name} {_shown(part.shape)}" for name, part in unit.parts.items())
    return WeightsError(
        f"does not fit {network.file}: none of its layers is {shortened(unit.name)} with {shapes}",
        where=Where(file=checkpoint.file),
        hint=OTHER,
    )


def count_error(
    network: Network,
    layers: Sequence[Layer],
    checkpoint: Checkpoint,
    given: Mapping[int, Unit] | None = None,
) -> WeightsError:
    """Return the error for a file with too few or too many layers, which names some of them.

    Args:
        network: the network of the cfg.
        layers: the layers of the cfg that were to be paired.
        checkpoint: the file, which the message names.
        given: the file's layers by the layer index in their names; None if names state none.
    """
    details: list[str] = []
    if given is not None:
        known = {layer.index for layer in layers}
        missing = [layer for layer in layers if layer.index not in given]
        extra = [unit for index, unit in given.items() if index not in known]
        details += [f"missing: layer {one.index} [{one.section.name}]" for one in missing[:3]]
        details += [f"not in the cfg: {shortened(unit.name)}" for unit in extra[:3]]
    else:
        details += _first_difference(checkpoint.units, layers)
    of_all = [layer for layer in network.layers if layer.slots]
    return WeightsError(
        f"does not fit {network.file}",
        where=Where(file=checkpoint.file),
        expected=_counts(len(of_all), sum(map(is_normalized, of_all))),
        found=_counts(
            sum(not unit.is_norm_alone for unit in checkpoint.units),
            sum(unit.has_norm for unit in checkpoint.units),
        ),
        details=details,
        hint="it is another network's",
    )


def _counts(layers: int, norms: int) -> str:
    return f"{layers} layers with arrays, {norms} of them with batch norm"


def _first_difference(units: Sequence[Unit], layers: Sequence[Layer]) -> list[str]:
    for unit, layer in zip(units, layers, strict=False):
        problem = misfit(unit, layer)
        if problem:
            return [
                f"they part at layer {layer.index} [{layer.section.name}] and "
                f"{shortened(unit.name)}: {problem}"
            ]
    rest = layers[len(units) :]
    if rest:
        return [f"missing: layer {rest[0].index} [{rest[0].section.name}]"]
    return [f"not in the cfg: {shortened(unit.name)}" for unit in units[len(layers) :][:1]]
