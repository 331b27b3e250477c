"""reclass: a model for some of its classes, with exactly the scores that it gave them.

A head reads rows of the layer before it: of each anchor the box, and a row per class. Keeping
classes is keeping rows, in the order wanted; everything before that layer stays untouched.
"""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Model
from darkconv.core.network import Layer, Network
from darkconv.core.spec import HeadSpec
from darkconv.errors import PlanError
from darkconv.layers.conv import Convolutional
from darkconv.layers.dense import Connected
from darkconv.layers.head import Region
from darkconv.layers.norm import Softmax
from darkconv.surgery.removal import keep_channels

logger = logging.getLogger("darkconv")

Rows = npt.NDArray[np.int64]

MAKERS = (Convolutional, Connected)
"""Layers whose rows a head can be made to lose."""


@dataclass(frozen=True)
class Cut:
    """What one head asks of the layers before it.

    Attributes:
        head: the head.
        maker: the layer that makes its input rows.
        rows: which rows stay, in the new order.
    """

    head: Layer
    maker: Layer
    rows: Rows


def reclass(model: Model, keep: Sequence[str | int]) -> Model:
    """A model that predicts some of the classes, in the order given.

    Boxes and scores of the kept classes do not change, except where a softmax runs over the
    classes: there the dropped ones leave the denominator, which is warned about.

    Args:
        model: with one or more heads, all of the same classes; is not changed.
        keep: class names or indices.

    Raises:
        PlanError: an unknown class, none at all, one named twice, or a head whose rows cannot
            be cut: a class tree, or rows that other layers read too.
    """
    network = model.network
    kept = class_indices(model, keep)
    cuts = [plan_cut(network, head, kept) for head in network.heads]
    _warn_of_softmax(network)
    small = keep_channels(
        model,
        {cut.maker.index: cut.rows for cut in cuts},
        options={cut.head.index: _head_spec(cut.head).class_options(kept) for cut in cuts},
    )
    names = tuple(model.class_name(index) for index in kept) if model.names else ()
    return replace(small, names=names)


def _head_spec(head: Layer) -> HeadSpec:
    assert isinstance(head.spec, HeadSpec)
    return head.spec


def class_indices(model: Model, keep: Sequence[str | int]) -> list[int]:
    """Indices of classes given by name or index.

    Raises:
        PlanError: see `reclass`.
    """
    total = _num_classes(model.network)
    kept = [_class_index(model, item, total) for item in keep]
    if not kept:
        raise PlanError("no class to keep")
    for index in kept:
        if kept.count(index) > 1:
            raise PlanError(f"class {model.class_name(index)} is named twice")
    return kept


def _num_classes(network: Network) -> int:
    counts = {_head_spec(head).num_classes(head.in_shapes) for head in network.heads}
    if len(counts) != 1:
        found = "heads of " + " and ".join(map(str, sorted(counts))) if counts else "no head"
        raise PlanError(f"{network.file}: expected heads with one list of classes, found {found}")
    return counts.pop()


def _class_index(model: Model, item: str | int, total: int) -> int:
    if isinstance(item, str):
        if item in model.names[:total]:
            return model.names.index(item)
        if not item.lstrip("-").isdigit():
            raise _unknown_class(model, item)
    index = int(item)
    if not 0 <= index < total:
        raise PlanError("class index", expected=f"0 to {total - 1}", found=index)
    return index


def _unknown_class(model: Model, name: str) -> PlanError:
    if not model.names:
        return PlanError(
            f"class {name!r}: the model has no class names",
            hint="give a names file, or class indices",
        )
    near = difflib.get_close_matches(name, model.names, n=3)
    known = ", ".join(model.names[:10]) + (", ..." if len(model.names) > 10 else "")
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {known}"
    return PlanError(f"unknown class {name!r}", hint=hint)


def plan_cut(network: Network, head: Layer, keep: Sequence[int]) -> Cut:
    """Find the layer that makes a head's rows, and the rows that stay.

    Raises:
        PlanError: the rows cannot be cut.
    """
    spec = _head_spec(head)
    if isinstance(spec, (Region, Softmax)) and spec.tree:
        raise PlanError(
            "the classes form a tree, of which none can be taken out alone",
            where=network.where(head.index, "tree"),
        )
    if isinstance(spec, Softmax) and spec.groups > 1:
        raise PlanError(
            "a softmax in groups has no plain list of classes",
            where=network.where(head.index, "groups"),
        )
    rows = spec.class_rows(head.in_shapes, keep)
    reader, source = head, head.sources[0]
    while True:
        layer = network.layers[source] if source >= 0 else None
        if layer is None or network.consumers[source] != (reader.index,):
            raise _uncuttable(network, head, source)
        if isinstance(layer.spec, MAKERS):
            _check_maker(network, head, layer)
            return Cut(head, layer, rows)
        if not _hands_through(layer):
            raise _uncuttable(network, head, source)
        reader, source = layer, layer.sources[0]


def _hands_through(layer: Layer) -> bool:
    """Whether output channel i is made of input channel i, and of nothing else."""
    if len(layer.in_shapes) != 1:
        return False
    ties = layer.spec.ties(layer.in_shapes)
    return ties.shape[1] == 1 and np.array_equal(ties[:, 0], np.arange(layer.in_shapes[0].c))


def _check_maker(network: Network, head: Layer, maker: Layer) -> None:
    is_flat = not head.out_shape.is_map
    grouped = isinstance(maker.spec, Convolutional) and maker.spec.group_count > 1
    if grouped or (is_flat and head.in_shapes[0].size != maker.out_shape.c):
        raise _uncuttable(network, head, maker.index)


def _uncuttable(network: Network, head: Layer, source: int) -> PlanError:
    if source < 0:
        return PlanError("the head reads the input", where=network.where(head.index))
    readers = network.consumers[source]
    also = f", which layers {', '.join(map(str, readers))} read" if len(readers) > 1 else ""
    return PlanError(
        f"its classes are not rows of one layer: they come from layer {source} "
        f"[{network.layers[source].type}]{also}",
        where=network.where(head.index),
    )


def _warn_of_softmax(network: Network) -> None:
    for head in network.heads:
        if isinstance(head.spec, Softmax) or getattr(head.spec, "softmax", False):
            logger.warning(
                "%s: the softmax now runs over the kept classes alone, so their scores rise, "
                "also on objects of the dropped ones; fine-tuning mends that",
                network.where(head.index),
            )
