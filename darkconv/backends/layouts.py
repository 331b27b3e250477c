"""Layouts: the forms in which a file gives boxes, for the programs that read them.

A layout says which outputs there are, what they hold, and the order of their axes. Graphs are built
from it, metadata are written from it, and outputs are split into their parts by it. A new layout is
one more entry of `LAYOUTS`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from darkconv.errors import DarkconvError
from darkconv.layers.box_heads import box_heads, box_outputs, scored_classes

if TYPE_CHECKING:
    from darkconv.core.network import Network

CORNERS = "corners"
"""x0, y0, x1, y1 of each box."""
CENTRES = "centres"
"""x and y of the centre, width and height of each box."""
SCORES = "scores"
"""Scores that a threshold is compared with, one for each class."""
CONFIDENCES = "confidences"
"""Confidences that the C program reports for a box, one for each class, where they differ from
scores."""
BEST = "best"
"""The highest score of each box, or the score of each detection."""
LABEL = "label"
"""The class of that score, counted from 0."""
COUNT = "count"
"""The number of detections; the places after them are padding."""
WIDTHS = {CORNERS: 4, CENTRES: 4, BEST: 1, LABEL: 1, COUNT: 1}
"""Number of values for each box, by part; `SCORES` and `CONFIDENCES` have one for each class."""

EACH, VALUES, ONE = "each", "values", "one"
"""Kinds of axes after the batch: boxes or detections, the values of each, an axis of length 1."""

RELATIVE, PIXELS = "relative", "pixels"
SPLIT = "split"
"""Name of the default layout."""

NMS_OPS = ("onnx", "tensorrt")
"""Operators that do NMS in a graph: ONNX's own, or TensorRT's plugin."""

Values = Any  # an array of numpy or of another library


@dataclass(frozen=True, kw_only=True)
class LayoutOutput:
    """One output of a file.

    Attributes:
        name: name of the output.
        parts: parts that it holds, side by side along the axis `VALUES`.
        axes: kinds of its axes after the batch, in order.
    """

    name: str
    parts: tuple[str, ...]
    axes: tuple[str, ...] = (EACH, VALUES)

    @property
    def natural(self) -> tuple[str, ...]:
        """Return the axes in the order in which they are computed, without `ONE`."""
        return tuple(axis for axis in (EACH, VALUES) if axis in self.axes)

    @property
    def is_whole(self) -> bool:
        """Return True if the output holds integers: only classes or only counts."""
        return self.parts in ((LABEL,), (COUNT,))

    def shape(self, count: int | str, classes: int) -> list[int | str]:
        """Return the lengths of the axes after the batch.

        Args:
            count: number of boxes or detections; the name of the length where it is free.
            classes: number of classes that have scores.
        """
        width = sum(WIDTHS.get(part, classes) for part in self.parts)
        lengths: dict[str, int | str] = {EACH: count, VALUES: width, ONE: 1}
        return [lengths[axis] for axis in self.axes]

    def taken_apart(self, values: Values) -> dict[str, Values]:
        """Return the parts of the output for one picture, with the axes of `natural`.

        Args:
            values: array of one picture, without the batch axis.
        """
        singles = tuple(place for place, axis in enumerate(self.axes) if axis == ONE)
        values = values.squeeze(singles) if singles else values
        order = [axis for axis in self.axes if axis != ONE]
        values = values.transpose([order.index(axis) for axis in self.natural])
        if VALUES not in self.axes or len(self.parts) == 1:
            return {self.parts[0]: values}
        classes = values.shape[1] - sum(WIDTHS.get(part, 0) for part in self.parts)
        found, start = {}, 0
        for part in self.parts:
            end = start + WIDTHS.get(part, classes)
            found[part] = values[:, start:end]
            start = end
        return found


@dataclass(frozen=True, kw_only=True)
class BoxLayout:
    """A form of the outputs of a file that gives boxes.

    Attributes:
        name: name of the layout, for the option `layout`.
        head: kind of outputs that it is a form of: "boxes" or "nms".
        outputs: the outputs, in order.
        unit: unit of the boxes: `RELATIVE` to the network's input or `PIXELS` of it; None where the
            option `pixels` decides.
        padding: class of the places after the last detection.
        nms_ops: those of `NMS_OPS` that can give this layout.
        facts: builds the metadata that readers of the layout expect, from the network, its class
            names, and whether the size of pictures is free.
    """

    name: str
    head: str
    outputs: tuple[LayoutOutput, ...]
    unit: str | None = None
    padding: int = -1
    nms_ops: tuple[str, ...] = NMS_OPS[:1]
    facts: Callable[["Network", Sequence[str], bool], dict[str, str]] = lambda *_: {}

    @property
    def box_form(self) -> str:
        """Return the form of the boxes, `CORNERS` or `CENTRES`."""
        parts = {part for output in self.outputs for part in output.parts}
        return CENTRES if CENTRES in parts else CORNERS

    @property
    def gives_best(self) -> bool:
        """Return True if each box comes with its highest score only."""
        return self.head == "boxes" and any(BEST in output.parts for output in self.outputs)

    def unit_of(self, *, pixels: bool) -> str:
        """Return the unit of the boxes.

        Args:
            pixels: True for pixels, False for 0..1; used where the layout fixes no unit.
        """
        return self.unit or (PIXELS if pixels else RELATIVE)

    def outputs_of(self, network: "Network") -> list[LayoutOutput]:
        """Return the outputs of a network's file; confidences only where they are not the scores.

        Args:
            network: network with heads that predict boxes.
        """
        has_more = CONFIDENCES in box_outputs(network)
        return [output for output in self.outputs if has_more or output.parts != (CONFIDENCES,)]

    def taken_apart(self, values: Mapping[str, Values]) -> dict[str, Values]:
        """Return all parts of the outputs for one picture.

        Args:
            values: arrays without the batch axis, by the names of the outputs.
        """
        found: dict[str, Values] = {}
        for output in self.outputs:
            if output.name in values:
                found |= output.taken_apart(values[output.name])
        return found


def ultralytics_facts(
    network: "Network", names: Sequence[str], has_free_size: bool
) -> dict[str, str]:
    """Return the metadata of an Ultralytics file: numbers, and Python literals as text.

    Loaders expect a name for each class. A missing name is replaced by the class's index, as in the
    output of `darkconv detect`.

    Args:
        network: network of the file.
        names: class names, in order; there may be fewer than classes.
        has_free_size: True if pictures of any size may come.
    """
    heads, shape = box_heads(network), network.input_shape
    strides = [shape.h / layer.in_shapes[0].h for layer in heads if layer.in_shapes[0].is_map]
    known = [str(name) for name in names]
    classes = range(scored_classes(network))
    return {
        "task": "detect",
        "stride": str(math.ceil(max(strides, default=1))),
        "imgsz": repr([shape.h, shape.w]),
        "names": repr({i: known[i] if i < len(known) else str(i) for i in classes}),
        "batch": "1",
        "channels": str(shape.c),
        "args": repr({"dynamic": has_free_size}),  # if False, loaders fit pictures to imgsz
    }


LAYOUTS = (
    BoxLayout(
        name=SPLIT,
        head="boxes",
        outputs=(
            LayoutOutput(name="boxes", parts=(CORNERS,)),
            LayoutOutput(name="scores", parts=(SCORES,)),
            LayoutOutput(name="confidences", parts=(CONFIDENCES,)),
        ),
    ),
    BoxLayout(
        name="ultralytics",
        head="boxes",
        outputs=(LayoutOutput(name="output0", parts=(CENTRES, SCORES), axes=(VALUES, EACH)),),
        unit=PIXELS,
        facts=ultralytics_facts,
    ),
    BoxLayout(
        name="deepstream",
        head="boxes",
        outputs=(LayoutOutput(name="output", parts=(CORNERS, BEST, LABEL)),),
        unit=PIXELS,
    ),
    BoxLayout(
        name="yolov4",
        head="boxes",
        outputs=(
            LayoutOutput(name="boxes", parts=(CORNERS,), axes=(EACH, ONE, VALUES)),
            LayoutOutput(name="confs", parts=(SCORES,)),
        ),
        unit=RELATIVE,
    ),
    BoxLayout(
        name=SPLIT,
        head="nms",
        outputs=(
            LayoutOutput(name="boxes", parts=(CORNERS,)),
            LayoutOutput(name="scores", parts=(BEST,), axes=(EACH,)),
            LayoutOutput(name="classes", parts=(LABEL,), axes=(EACH,)),
            LayoutOutput(name="count", parts=(COUNT,), axes=()),
        ),
    ),
    BoxLayout(
        name="efficientnms",
        head="nms",
        outputs=(
            LayoutOutput(name="num_dets", parts=(COUNT,), axes=(ONE,)),
            LayoutOutput(name="det_boxes", parts=(CORNERS,)),
            LayoutOutput(name="det_scores", parts=(BEST,), axes=(EACH,)),
            LayoutOutput(name="det_classes", parts=(LABEL,), axes=(EACH,)),
        ),
        padding=0,
        nms_ops=NMS_OPS,
    ),
)
"""Every layout of every kind of head."""
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def find_layout(head: str, name: str) -> BoxLayout:
    """Return the layout of a name.

    Args:
        head: "boxes" or "nms".
        name: one of `LAYOUT_NAMES`.

    Raises:
        DarkconvError: this kind of head has no layout of that name.
    """
    known = {layout.name: layout for layout in LAYOUTS if layout.head == head}
    if name not in known:
        raise DarkconvError(f"layout of head {head}", expected=", ".join(known), found=name)
    return known[name]
