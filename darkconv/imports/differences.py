"""Differences in what programs compute from the same weights: epsilon, [reorg], pools, decoding."""

from dataclasses import dataclass

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, YOLOR, Dialect
from darkconv.core.model import Model
from darkconv.core.network import Network, build_network
from darkconv.core.options import Notes
from darkconv.errors import DarkconvError
from darkconv.imports.found import SPACE_TO_DEPTH, Checkpoint, Unit
from darkconv.layers.head import Yolo
from darkconv.layers.pool import Maxpool

KEEP, AUTO, REORG3D = "keep", "auto", "reorg3d"
REORGS = (AUTO, KEEP, REORG3D)
"""The treatments of [reorg]: it stays, or becomes [reorg3d], which is a plain space-to-depth."""


@dataclass(frozen=True)
class Adapted:
    """A network that computes what the file's program computes.

    Attributes:
        network: the network of the cfg, with [reorg] layers exchanged where that was wanted.
        notes: what was exchanged, or may have to be exchanged, a sentence each.
    """

    network: Network
    notes: tuple[str, ...] = ()


def adapt_reorg(network: Network, checkpoint: Checkpoint, reorg: str) -> Adapted:
    """Exchange [reorg] layers for what the file's program computes in their place.

    Darknet's [reorg] moves pixels between rows too, so no order of channels after a plain
    space-to-depth gives it. AlexeyAB's [reorg3d] is a plain space-to-depth, channel by channel.

    Args:
        network: the network of the cfg.
        checkpoint: the open file, which states what its program computes for [reorg].
        reorg: one of `REORGS`; "auto" exchanges the layers only if the file itself states it.

    Returns:
        The network, and notes about the exchange.

    Raises:
        DarkconvError: `reorg` is another word.
    """
    if reorg not in REORGS:
        raise DarkconvError("reorg", expected=" or ".join(REORGS), found=reorg)
    layers = [one for one in network.layers if one.type == "reorg"]
    if not layers or checkpoint.reorg != SPACE_TO_DEPTH or reorg == KEEP:
        return Adapted(network)
    if network.dialect.reorg_splits_space:
        done = f"[reorg] is {SPACE_TO_DEPTH} in the {network.dialect} dialect: it stays as it is"
        return Adapted(network, (done,) if reorg == REORG3D else ())
    indices = ", ".join(str(layer.index) for layer in layers)
    if reorg == AUTO and not checkpoint.says_reorg:
        whose = checkpoint.tool or "the program"
        return Adapted(
            network,
            (
                f"layer {indices} is [reorg], for which {whose} computes {SPACE_TO_DEPTH}: "
                "weights that came from Darknet are right as they are; if they were trained "
                "there, --reorg reorg3d (reorg=) makes it a [reorg3d], which computes the same",
            ),
        )
    config = network.config
    sections = list(config.sections)
    for layer in layers:
        sections[layer.index + 1] = sections[layer.index + 1].renamed("reorg3d")
    config = type(config)(config.file, config.lead, tuple(sections))
    changed = build_network(config, ALEXEYAB, trees=network.trees, notes=Notes())
    whose = "as the file says" if reorg == AUTO else "as --reorg (reorg=) says"
    note = (
        f"[reorg] of layer {indices} became [reorg3d], since the program computes "
        f"{SPACE_TO_DEPTH} there, {whose}; the arrays are as they were"
    )
    if network.dialect is PJREDDIE:
        note += "; only AlexeyAB's program knows it, so the model is in the alexeyab dialect"
    return Adapted(changed, (note,))


def epsilon_of(dialect: Dialect) -> float:
    """Return the epsilon that a dialect's own programs add to a variance.

    Args:
        dialect: one of the dialects of `darkconv.core.dialect`.
    """
    return dialect.variance_epsilon or 1e-5


def epsilon_note(model: Model, checkpoint: Checkpoint, units: list[Unit]) -> str:
    """Return a note if the file does not state its epsilon and its program's is not Darknet's.

    Args:
        model: the imported model, whose dialect gives Darknet's epsilon.
        checkpoint: the file, for the epsilon of its program.
        units: the layers of the file.

    Returns:
        A sentence, or "" where nothing is to be said.
    """
    epsilon = checkpoint.program_epsilon
    if epsilon is None or epsilon == epsilon_of(model.dialect):
        return ""
    if not any(unit.has_norm for unit in units):
        return ""
    whose = checkpoint.tool or "Keras"
    return (
        f"the file does not say what batch norm adds to the variance, {epsilon:g} in {whose} "
        f"unless it was told otherwise, {epsilon_of(model.dialect):g} in Darknet: the arrays are "
        f"kept as they are; --bn-epsilon {epsilon:g} (bn_epsilon=) adds the difference"
    )


def decoding_notes(network: Network, checkpoint: Checkpoint) -> list[str]:
    """Return notes on programs that decode boxes in another way than the cfg's [yolo] layers.

    Args:
        network: the network of the cfg.
        checkpoint: the file, for what is known of its program.

    Returns:
        One sentence for each difference.
    """
    heads = [one.spec for one in network.heads if isinstance(one.spec, Yolo)]
    if not heads or network.dialect is YOLOR:
        return []
    notes = []
    if checkpoint.decoding and not heads[0].new_coords:
        notes.append(
            f"{checkpoint.decoding} decode boxes as [yolo] with new_coords=1 and scale_x_y=2 does, "
            "behind a convolution with activation=logistic; weights that they have trained need a "
            "cfg that says so, or --dialect yolor (dialect=), whose rule it is"
        )
    scaled = [head.scale_x_y for head in heads if head.scale_x_y != 1 and not head.new_coords]
    if checkpoint.ignores_scale and scaled:
        notes.append(
            f"{checkpoint.ignores_scale} does not know scale_x_y, which is {scaled[0]:g} in the "
            "cfg; weights that it has trained need a cfg without it"
        )
    return notes


def pool_notes(network: Network, checkpoint: Checkpoint) -> list[str]:
    """Return notes on [maxpool] layers whose output or border differs in the file's program.

    Args:
        network: the network of the cfg.
        checkpoint: the file, for what is known of its program.

    Returns:
        At most one sentence about odd sizes and one about borders.
    """
    return [
        note for note in (_border_note(network, checkpoint), _odd_note(network, checkpoint)) if note
    ]


def _odd_note(network: Network, checkpoint: Checkpoint) -> str:
    """Return a note if the program's pools leave out the last row and column of odd maps."""
    if not checkpoint.floors_pools:
        return ""
    for layer in network.layers:
        if not isinstance(layer.spec, Maxpool) or min(layer.spec.strides) == 1:
            continue
        (x,) = layer.in_shapes
        own = layer.out_shape
        theirs = tuple(
            (length + 2 * ((layer.spec.size - 1) // 2) - layer.spec.size) // stride + 1
            for length, stride in zip((x.h, x.w), layer.spec.strides, strict=True)
        )
        if theirs != (own.h, own.w):
            return (
                f"the program's pool of layer {layer.index} makes {theirs[1]}x{theirs[0]} of "
                f"{x.w}x{x.h}, and the cfg's makes {own.w}x{own.h}: what follows it differs at "
                "this size of pictures"
            )
    return ""


def classes_note(network: Network, checkpoint: Checkpoint) -> str:
    """Return a note if only the cfg has an activation after the convolution that gives the classes.

    Args:
        network: the network of the cfg.
        checkpoint: the file, for what is known of its program.

    Returns:
        A sentence, or "" where nothing is to be said.
    """
    last = [layer for layer in network.layers if layer.slots][-1:]
    if not checkpoint.has_plain_classes or network.box_heads or not last:
        return ""
    activation = getattr(last[0].spec, "activation", "linear")
    if activation == "linear":
        return ""
    return (
        f"the program has no activation behind its last convolution, and layer {last[0].index} of "
        f"the cfg has {activation}: weights that it has trained need activation=linear there"
    )


def _border_note(network: Network, checkpoint: Checkpoint) -> str:
    """Return a note if the program's pools of stride 1 include zeros beyond the border."""
    pools = [
        layer.index
        for layer in network.layers
        if isinstance(layer.spec, Maxpool)
        and min(layer.spec.strides) == 1
        and layer.spec.size % 2 == 0
    ]
    if not checkpoint.pads_zeros or not pools:
        return ""
    return (
        f"the program puts zeros beyond the border of [maxpool] layer {pools[0]}, of stride 1; in "
        "Darknet nothing lies there, so values at the border differ where all are below zero"
    )
