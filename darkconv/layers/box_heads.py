"""The numbers of boxes and classes that the heads of a network predict."""

from darkconv.core.network import Layer, Network
from darkconv.errors import GraphError, UnsupportedError, Where
from darkconv.layers import conv, head, norm

BOXES, SCORES, CONFIDENCES = "boxes", "scores", "confidences"
LOGISTIC = "logistic"


def box_heads(network: Network) -> tuple[Layer, ...]:
    """Return the heads that predict boxes, after a check that their boxes can be decoded.

    Args:
        network: the network to examine.

    Raises:
        GraphError: a head predicts more classes than C has room for, or its mask names an anchor
            that is not listed.
        UnsupportedError: the heads predict no classes, so there are no scores.
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
    """Return the number of scores per box; scores of classes that a box's own head lacks are 0.

    The C programs reserve room for this number in each box: see `Dialect.first_head_scores`.

    Args:
        network: a detector.
    """
    return count_classes(network.box_heads[0 if network.dialect.first_head_scores else -1])


def suppressed_classes(network: Network) -> int:
    """Return the number of classes that C's non-maximum suppression (NMS) handles.

    It handles the classes from the first up to the number of the last head.

    Args:
        network: a detector.
    """
    return count_classes(network.box_heads[-1])


def check_room(network: Network) -> None:
    """Check that no head has more classes than a box has room for.

    Args:
        network: the network whose heads are checked.

    Raises:
        GraphError: a head has more, so the C program would write beyond its memory.
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
        network: gives the place in the cfg for the message; None if it is not known.

    Raises:
        GraphError: the mask names an anchor that is not listed.
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
    """Return the number of classes that a head predicts.

    Args:
        layer: the head.
    """
    assert isinstance(layer.spec, head.Head)
    return layer.spec.num_classes(layer.in_shapes)


def count_boxes(layer: Layer) -> int:
    """Return the number of boxes that a head predicts at the network's input size.

    Args:
        layer: a head that predicts boxes.
    """
    spec = layer.spec
    if isinstance(spec, head.Detection):
        return spec.cells * spec.num
    assert isinstance(spec, head.AnchorHead)
    return layer.in_shapes[0].h * layer.in_shapes[0].w * len(spec.anchor_indices)


def box_outputs(network: Network) -> tuple[str, ...]:
    """Return the names of the outputs that hold all boxes of a network.

    A threshold is compared with `scores`. C compares it both with the objectness and with the
    product of objectness and class score, which C reports. If the objectness can be the lower one,
    `scores` holds the lower of the two, and `confidences` holds what C reports for a box that is
    kept.

    Args:
        network: a detector.

    Raises:
        GraphError, UnsupportedError: see `box_heads`.
    """
    if any(tests_objectness(network, layer) for layer in box_heads(network)):
        return BOXES, SCORES, CONFIDENCES
    return BOXES, SCORES


def tests_objectness(network: Network, layer: Layer) -> bool:
    """Return True if a box's score can exceed its objectness, so that both have to be tested.

    Without a sigmoid, class scores can exceed 1, and objectness and class scores can fall below 0.
    This happens only in [yolo] with `new_coords=1`, which leaves the sigmoid to the layer before
    it. In [region] of alexeyab and in [detection], C does not test the objectness.

    Args:
        network: the network of the head.
        layer: the head.
    """
    spec = layer.spec
    if not isinstance(spec, head.YoloHead) or spec.squashes:
        return False
    (index,) = layer.sources
    return index < 0 or not is_squashed(network, network.layers[index])


def is_squashed(network: Network, layer: Layer) -> bool:
    """Return True if all values of a layer are known to lie within 0 to 1.

    Args:
        network: the network of the layer.
        layer: any layer.
    """
    if isinstance(layer.spec, conv.Convolutional):
        return conv.inference_activation(layer, network) == LOGISTIC
    return isinstance(layer.spec, norm.Activation) and layer.spec.activation == LOGISTIC
