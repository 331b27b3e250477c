"""The backbone of a model: where to cut it, its own model, and a weights file of it for Darknet."""

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
    """The place where the features of a network end, and the reason: see `plan_backbone`.

    Attributes:
        layers: number of leading layers that form the backbone; the last of them has arrays.
        limit: number of leading layers that do not depend on what the heads predict. Longer files
            fit only cfgs with the same classes and anchors; in others, all arrays after this limit
            would be shifted.
        head: index of the first head.
        maker: index of the first layer whose array shapes depend on a head.
        residual: index of the last residual shortcut before the layers of the head; None if there
            is none.
    """

    layers: int
    limit: int
    head: int
    maker: int
    residual: int | None


def find_backbone(network: Network) -> int:
    """Return the number of leading layers that hold the features on which the heads are built.

    Args:
        network: a network with at least one head.

    Raises:
        PlanError: see `plan_backbone`.
    """
    return plan_backbone(network).layers


def plan_backbone(network: Network) -> Backbone:
    """Find the cut for a weights file from which another detector can be trained.

    1. On the way back from a head to the layer that makes its channels are the layers whose arrays
    have a row for each class or box entry. The first of them in the file is the limit: the layers
    before it serve any classes, and those after it would be shifted by other classes. AlexeyAB cuts
    `yolov3-tiny.conv.15`, `yolov4-tiny.conv.29` and `yolov3.conv.81` in this way, and
    `darknet53.conv.74` and `darknet19_448.conv.23` from classifiers.
    2. Directly before the limit there may be layers that belong to the first head: convolutions at
    its map size. If residual blocks end at this size, and all later layers read only their result,
    the backbone ends with the last block (yolov3: layer 74, the end of Darknet-53). In networks
    without such blocks, the topology does not tell backbone and head apart, and the backbone
    extends to the limit. It also does if a neck returns to finer feature maps before the first head
    (yolov4), because its layers serve all heads.

    Layers without arrays at the end are not counted, since the file is the same without them.

    Args:
        network: a network with at least one head.

    Raises:
        PlanError: there is no head, or no layer before the first head has arrays.
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
    """Return the first layer whose array shapes depend on a head, and that head.

    Args:
        network: the network to examine.

    Returns:
        Two layer indices (from 0); None without heads.
    """
    found = [(maker, head.index) for head in network.heads for maker in _makers(network, head)]
    return min(found, default=None)


def _makers(network: Network, head: Layer) -> set[int]:
    """Return the layers whose arrays have rows for what a head predicts."""
    found, waiting = set(), [source for source in head.sources if source >= 0]
    while waiting:
        layer = network.layers[waiting.pop()]
        if layer.slots or layer.shared is not None:
            found.add(layer.index if layer.shared is None else layer.shared)
        if not makes_channels(layer):
            waiting += [source for source in layer.sources if source >= 0]
    return found


def _residual_end(network: Network, maker: int) -> int | None:
    """Return the last shortcut of the maker's map size that later layers depend on alone."""
    oldest = maker
    size = next((shape[1:] for shape in network.layers[maker].in_shapes), None)
    for layer in reversed(network.layers[:maker]):
        if layer.out_shape[1:] not in (size, (1, 1)):  # 1x1 is the inside of squeeze-and-excitation
            return None
        oldest = min([oldest, *network.layers[layer.index + 1].sources])
        if layer.type == "shortcut" and layer.out_shape[1:] == size and oldest >= layer.index:
            return layer.index
    return None


def _with_arrays(network: Network, limit: int) -> int:
    """Return the number of leading layers below a limit, up to the last one with arrays."""
    indices = [layer.index for layer in network.layers[:limit] if layer.slots]
    return indices[-1] + 1 if indices else 0


def partial(model: Model, layers: int) -> Model:
    """Return the model of the first layers; the output of its last layer is the features.

    Args:
        model: the original model, which stays unchanged.
        layers: number of leading layers to keep.

    Raises:
        PlanError: the number is less than 1, or larger than that of the model's layers.
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
    """Return a text that says where and why a network is cut.

    Args:
        plan: the cut.
        network: the network that is cut.
    """

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
    """Write a weights file of the first layers, as Darknet's command `partial` does.

    The counter of pictures seen is set to zero, as in Darknet. `darkconv.load` reads such a file
    with `cutoff=layers`, or without it if its name ends in `.conv.<layers>`. If the file has rows
    for the classes and boxes of a head, a warning is logged.

    Args:
        model: the model whose layers are written.
        path: path of the weights file.
        layers: number of leading layers to write.

    Returns:
        The `cutoff` with which the file must be read; None if its name states it.

    Raises:
        PlanError: there are not so many layers, some of them have only initial values, or the file
            name states another number.
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
