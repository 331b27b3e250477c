"""Facts about a model for the files of a kit: its input size, its classes, its thresholds."""

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
"""Defaults of the least score and of the IoU of the same object: those of `darkconv.detect`."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts about a model that the files beside it need.

    Attributes:
        name: name of the model, in letters that every program accepts in a name.
        channels, height, width: size of the network's input.
        names: names of all classes; the index of a class where it has no name.
        hidden: indices of classes that `dont_show` in the names file hides.
        threshold: least score, 0..1.
        nms: IoU above which two boxes are the same object, 0..1.
        is_letterbox: True if pictures keep their proportions, between grey borders.
        finds_boxes: True for a detector.
        is_classifier: True if the only result is a score for each class.
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
        """Return the facts about a model that takes pictures.

        Args:
            model: the model.
            options: options of `darkconv.export`, of which threshold, nms and resize count.

        Raises:
            GraphError: the boxes of the network cannot be decoded.
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
        """Return the names as valid UTF-8: invalid bytes become U+FFFD."""
        return [encoded(name).decode("utf-8", "replace") for name in self.names]

    @property
    def labels(self) -> bytes:
        """Return the content of a label file: one name per line, in the user's own bytes."""
        return encoded("".join(f"{name}\n" for name in self.names))


def is_classifier(network: Network) -> bool:
    """Return True if a network's only result is a score for each class, from a [softmax] layer.

    Args:
        network: network of the model.
    """
    heads = network.heads
    if len(heads) != 1 or not isinstance(heads[0].spec, Softmax):
        return False
    return heads[0].out_shape.size == heads[0].out_shape.c


def _count_classes(model: Model) -> int:
    if box_heads(model.network):
        return scored_classes(model.network)
    return model.network.layers[model.network.outputs[-1]].out_shape.size


def _plain_name(file: str) -> str:
    """Return the stem of a file's name, without letters that servers and build tools refuse."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(file).stem).strip("_-") or "model"
