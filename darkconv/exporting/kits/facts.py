"""What the files of a kit say of a model: its size, its classes, its thresholds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.encodings import encoded
from darkconv.layers.box_heads import box_heads, scored_classes
from darkconv.layers.norm import Softmax

THRESHOLD, NMS = 0.25, 0.45
"""Least score and overlap where nothing is said: those of `darkconv.detect`."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model, as far as the files beside it have to know it.

    Attributes:
        name: of the model, in letters that every program takes as a name.
        channels, height, width: of the network's input.
        names: of all classes; the number of a class where it has no name.
        hidden: classes that `dont_show` in the names file hides.
        threshold: least score, 0..1.
        nms: overlap of boxes that count as the same, 0..1.
        is_letterbox: pictures keep their proportions, between grey borders.
        finds_boxes: it is a detector.
        is_classifier: it is none, and gives a score for each class.
    """

    name: str
    channels: int
    height: int
    width: int
    names: tuple[str, ...]
    hidden: frozenset[int]
    threshold: float
    nms: float
    is_letterbox: bool
    finds_boxes: bool
    is_classifier: bool

    @classmethod
    def of(cls, model: Model, options: Mapping[str, Any]) -> "Facts":
        """Return what is known of a model that takes pictures.

        Args:
            model: which.
            options: of `darkconv.export` that say more.

        Raises:
            GraphError: its boxes cannot be decoded.
        """
        network, shape = model.network, model.network.input_shape
        count = _count_classes(model)
        return cls(
            name=_plain_name(network.file),
            channels=shape.c,
            height=shape.h,
            width=shape.w,
            names=tuple(model.class_name(i) for i in range(count)),
            hidden=model.hidden,
            threshold=options.get("threshold", THRESHOLD),
            nms=options.get("nms", NMS),
            is_letterbox=network.options.resize_mode(options.get("resize")) == "letterbox",
            finds_boxes=network.finds_boxes,
            is_classifier=is_classifier(network),
        )

    @property
    def readable_names(self) -> list[str]:
        """The names as text that every program can hold: bytes that are no UTF-8 become marks."""
        return [encoded(name).decode("utf-8", "replace") for name in self.names]

    @property
    def labels(self) -> bytes:
        """The text of a file of labels, one in each line, with the bytes that the user wrote."""
        return encoded("".join(f"{name}\n" for name in self.names))


def is_classifier(network: Network) -> bool:
    """Return True where a network's only result is a score for each class, of a [softmax] layer."""
    heads = network.heads
    if len(heads) != 1 or not isinstance(heads[0].spec, Softmax):
        return False
    return heads[0].out_shape.size == heads[0].out_shape.c


def _count_classes(model: Model) -> int:
    if box_heads(model.network):
        return scored_classes(model.network)
    return model.network.layers[model.network.outputs[-1]].out_shape.size


def _plain_name(file: str) -> str:
    """Return the stem of a file's name, without what servers and build tools refuse in names."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(file).stem).strip("_-") or "model"
