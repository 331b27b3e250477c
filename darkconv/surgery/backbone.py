"""The first layers of a model: where to cut, the model of them, and Darknet's file of them."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from darkconv.core.model import Model
from darkconv.core.names import NO_NAMES
from darkconv.core.network import Layer, Network
from darkconv.darknet.weights import CUTOFF_NAME, write_weights
from darkconv.errors import PlanError
from darkconv.files import PathLike
from darkconv.surgery.channels import makes_channels

logger = logging.getLogger("darkconv")


@dataclass(frozen=True)
class Backbone:
    """Where the features of a network end, and why: see `plan_backbone`.

    Attributes:
        layers: how many leading layers are the backbone; the last of them has arrays.
        limit: how many do not depend on what the heads predict. Longer files fit only cfgs
            with the same classes and anchors: with others, all behind it would be shifted.
        head: the first head.
        maker: the first layer whose arrays a head decides on.
        residual: the last residual join before the head's own layers; None if there is none.
    """

    layers: int
    limit: int
    head: int
    maker: int
    residual: int | None


def find_backbone(network: Network) -> int:
    """How many leading layers hold the features that the heads are built upon.

    Raises:
        PlanError: see `plan_backbone`.
    """
    return plan_backbone(network).layers


def plan_backbone(network: Network) -> Backbone:
    """Find the cut for a weights file from which another detector can be trained.

    1. Going back from a head to the layer that makes its channels, one meets the layers whose
       arrays have a row per class or box entry. The first of them in the file is the limit:
       what stands before serves any classes, what stands behind would be shifted by others.
       That is how AlexeyAB cuts `yolov3-tiny.conv.15`, `yolov4-tiny.conv.29`, `yolov3.conv.81`,
       and `darknet53.conv.74` and `darknet19_448.conv.23` from classifiers.
    2. Directly before the limit may stand layers of the first head's own: convolutions at its
       map size. If residual blocks end at this size, and all that follows them reads only
       their result, then the backbone ends with the last of them (yolov3: layer 74, the end of
       Darknet-53). In networks without such blocks no topology tells the two apart, and the
       backbone reaches to the limit; so it does where a neck returns to finer maps before the
       first head (yolov4), for its layers serve all heads.

    Layers without arrays at the end are not counted, since the file is the same without them.

    Raises:
        PlanError: there is no head, or nothing with arrays before the first.
    """
    found = first_dependent(network)
    if found is None:
        raise PlanError(
            f"{network.file}: has no head that layers could be cut from",
            hint="say how many layers to keep: --layers N",
        )
    maker, head = found
    residual = _residual_end(network, maker)
    limit = _with_arrays(network, maker)
    if not limit:
        raise PlanError(
            "no layer before it has arrays, so there is no backbone", where=network.where(maker)
        )
    layers = limit if residual is None else _with_arrays(network, residual + 1)
    return Backbone(layers or limit, limit, head, maker, residual)


def first_dependent(network: Network) -> tuple[int, int] | None:
    """The first layer whose arrays a head decides on, and that head; None without heads."""
    found = [(maker, head.index) for head in network.heads for maker in _makers(network, head)]
    return min(found, default=None)


def _makers(network: Network, head: Layer) -> set[int]:
    """The layers whose arrays have rows for what a head predicts."""
    found, waiting = set(), [source for source in head.sources if source >= 0]
    while waiting:
        layer = network.layers[waiting.pop()]
        if layer.slots or layer.shared is not None:
            found.add(layer.index if layer.shared is None else layer.shared)
        if not makes_channels(layer):
            waiting += [source for source in layer.sources if source >= 0]
    return found


def _residual_end(network: Network, maker: int) -> int | None:
    """The last shortcut at the maker's map size that is all that the layers behind it read."""
    oldest = maker
    size = next((shape[1:] for shape in network.layers[maker].in_shapes), None)
    for layer in reversed(network.layers[:maker]):
        if layer.out_shape[1:] not in (size, (1, 1)):  # 1x1: the inside of a squeeze
            return None
        oldest = min([oldest, *network.layers[layer.index + 1].sources])
        if layer.type == "shortcut" and layer.out_shape[1:] == size and oldest >= layer.index:
            return layer.index
    return None


def _with_arrays(network: Network, limit: int) -> int:
    """The number of leading layers below a limit, without those at the end that have no arrays."""
    indices = [layer.index for layer in network.layers[:limit] if layer.slots]
    return indices[-1] + 1 if indices else 0


def partial(model: Model, layers: int) -> Model:
    """The model of the first `layers` layers alone: its last layer's values are the features.

    Raises:
        PlanError: there are not so many layers, or none.
    """
    network = model.network
    if not 0 < layers <= len(network.layers):
        raise PlanError(
            f"{network.file}: number of layers",
            expected=f"1 to {len(network.layers)}",
            found=layers,
        )
    config = network.config
    small = network.with_config(replace(config, sections=config.sections[: layers + 1]))
    return replace(
        model,
        network=small,
        arrays={key: model.arrays[key] for key, _, _ in small.keyed_slots()},
        names=model.names if small.heads else NO_NAMES,
        initial_layers=tuple(index for index in model.initial_layers if index < layers),
    )


def explain(plan: Backbone, network: Network) -> str:
    """Return where a network is cut, in words."""

    def name(index: int) -> str:
        return f"layer {index} [{network.layers[index].type}]"

    lines = [
        f"backbone: the first {plan.layers} layers, 0 to {plan.layers - 1}",
        f"the first head, {name(plan.head)}, decides on the arrays of {name(plan.maker)}",
    ]
    if plan.layers < plan.limit:
        lines += [
            f"the residual blocks end with {name(plan.residual or 0)}; what stands between "
            "is the head's own",
            f"layers up to {plan.limit - 1} serve any classes too: --layers {plan.limit}",
        ]
    return "\n".join(lines)


def write_partial(model: Model, path: PathLike, layers: int) -> int | None:
    """Write a weights file of the first `layers` layers, as Darknet's `partial` does.

    The counter of pictures seen starts at zero, as there. `darkconv.load` reads such a file
    with `cutoff=layers`, or by itself if its name ends in `.conv.<layers>`. A warning tells where
    it has rows for the classes and boxes of a head.

    Returns:
        The `cutoff` with which the file has to be read; None where its name says it.

    Raises:
        PlanError: there are not so many layers, no file gave values for some of them, or the name
            says another number.
        DarkconvError: the file cannot be written.
    """
    target = Path(path)
    named = CUTOFF_NAME.search(target.name)
    if named and int(named[1]) != layers:
        raise PlanError(
            f"{target}: the name says {named[1]} layers, and such a file is read by its name",
            expected=f".conv.{layers}",
            found=named[0],
        )
    _warn_of_heads(model.network, layers)
    part = partial(model, layers)
    if part.initial_layers:
        raise PlanError(
            "has only initial values, since no file gave others",
            where=model.network.where(part.initial_layers[0]),
        )
    write_weights(replace(part, header=replace(part.header, seen=0)), path)
    return None if named else layers


def _warn_of_heads(network: Network, layers: int) -> None:
    found = first_dependent(network)
    if found and layers > found[0]:
        maker = network.where(found[0])
        logger.warning(
            "%s: has rows for classes and boxes: the file fits only cfgs with the same heads", maker
        )
