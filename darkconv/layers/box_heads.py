"""What the heads of a network predict, counted."""

from darkconv.core.network import Layer, Network
from darkconv.errors import GraphError, UnsupportedError, Where
from darkconv.layers import conv, head, norm

BOXES, SCORES, CONFIDENCES = "boxes", "scores", "confidences"
LOGISTIC = "logistic"


def box_heads(network: Network) -> tuple[Layer, ...]:
    """The heads that predict boxes.

    Raises:
        GraphError: one predicts more classes than C has room for, or has no anchor listed.
        UnsupportedError: they predict no classes, so that there are no scores.
    """
    heads = network.box_heads
    for layer in heads:
        check_anchors(layer, network)
    if heads:
        check_room(network)
    if heads and not scored_classes(network):
        where = network.where(heads[0].index, "classes")
        hint = "its values can be had as they are: head=raw"
        raise UnsupportedError("without classes no box has a score", where=where, hint=hint)
    return heads


def scored_classes(network: Network) -> int:
    """Return how many classes every box has a score for: 0 where its own head has fewer.

    That is what the C programs make room for in each box: see `Dialect.first_head_scores`.
    """
    return count_classes(network.box_heads[0 if network.dialect.first_head_scores else -1])


def suppressed_classes(network: Network) -> int:
    """Return how many classes, from the first, C's suppression looks at: the last head's."""
    return count_classes(network.box_heads[-1])


def check_room(network: Network) -> None:
    """Check that no head has more classes than boxes have room for.

    Raises:
        GraphError: one has, and the C program would write beyond its memory.
    """
    room = scored_classes(network)
    for layer in network.box_heads:
        if count_classes(layer) > room:
            which = "first" if network.dialect.first_head_scores else "last"
            raise GraphError(
                "boxes have no room for so many scores",
                where=network.where(layer.index, "classes"),
                expected=f"at most {room}, as the {which} head has",
                found=count_classes(layer),
                hint="its values can be had as they are: head=raw",
            )


def check_anchors(layer: Layer, network: Network | None = None) -> None:
    """Check that every box of a head has an anchor.

    Args:
        layer: the head.
        network: for its place in the cfg, if that is known.

    Raises:
        GraphError: its mask names anchors that are not listed.
    """
    spec = layer.spec
    if not isinstance(spec, head.YoloHead) or not spec.unlisted_masks:
        return
    unknown = Where(layer=layer.index, section=layer.type, option="mask")
    raise GraphError(
        "its boxes cannot be decoded",
        where=network.where(layer.index, "mask") if network else unknown,
        expected=f"indices below the {spec.anchor_count} anchors that are listed",
        found=",".join(map(str, spec.mask)),
        hint="its values can be had as they are: head=raw",
    )


def count_classes(layer: Layer) -> int:
    """Classes that a head predicts."""
    assert isinstance(layer.spec, head.Head)
    return layer.spec.num_classes(layer.in_shapes)


def count_boxes(layer: Layer) -> int:
    """Boxes that a head predicts at the cfg's size."""
    spec = layer.spec
    if isinstance(spec, head.Detection):
        return spec.cells * spec.num
    assert isinstance(spec, head.AnchorHead)
    return layer.in_shapes[0].h * layer.in_shapes[0].w * len(spec.anchor_indices)


def box_outputs(network: Network) -> tuple[str, ...]:
    """Return the names of what all boxes of a network are given as.

    `scores` are what a threshold is compared with. C compares objectness with it as well as
    objectness times class score, which it reports. Where the first can be the lower one, `scores`
    are the lower of the two, and `confidences` what C reports of a box that is kept.
    """
    if any(tests_objectness(network, layer) for layer in box_heads(network)):
        return BOXES, SCORES, CONFIDENCES
    return BOXES, SCORES


def tests_objectness(network: Network, layer: Layer) -> bool:
    """Return True if a box's score can be above its objectness, so that both have to be tested.

    Class scores are above 1, and objectness and class scores below 0, only where nothing squashes
    them: in [yolo] with `new_coords=1`, which leaves that to the layer before. In [region] of
    alexeyab and in [detection] C does not test objectness.
    """
    spec = layer.spec
    if not isinstance(spec, head.YoloHead) or spec.squashes:
        return False
    (index,) = layer.sources
    return index < 0 or not is_squashed(network, network.layers[index])


def is_squashed(network: Network, layer: Layer) -> bool:
    """Return True if all values of a layer are known to be within 0..1."""
    if isinstance(layer.spec, conv.Convolutional):
        return conv.inference_activation(layer, network) == LOGISTIC
    return isinstance(layer.spec, norm.Activation) and layer.spec.activation == LOGISTIC
