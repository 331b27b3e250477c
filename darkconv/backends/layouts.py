"""The forms in which a file gives boxes, for the programs that read them: one entry for each.

A layout says which outputs there are, what stands in them, and in which order of axes. Graphs are
built from it, metadata are written by it, and outputs are taken apart by it again, so that a new
layout is one more entry of `LAYOUTS`.
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
"""x0, y0, x1, y1 of a box."""
CENTRES = "centres"
"""x, y of the centre, width and height of a box."""
SCORES = "scores"
"""What a threshold is compared with, one for each class."""
CONFIDENCES = "confidences"
"""What C reports of a box that is kept, one for each class, where that is not the score."""
BEST = "best"
"""The highest score of a box, or the score of a detection."""
LABEL = "label"
"""The class of that score, counted from 0."""
COUNT = "count"
"""How many of the detections are some; the others are padding."""
WIDTHS = {CORNERS: 4, CENTRES: 4, BEST: 1, LABEL: 1, COUNT: 1}
"""How many values a part has for each box; `SCORES` and `CONFIDENCES` have one for each class."""

EACH, VALUES, ONE = "each", "values", "one"
"""Axes behind that of the batch: boxes or detections; the values of one; a single place."""

RELATIVE, PIXELS = "relative", "pixels"
SPLIT = "split"
"""The layout where nothing is said."""

NMS_OPS = ("onnx", "tensorrt")
"""What suppresses in a graph: ONNX's own operators, or TensorRT's plugin."""

Values = Any  # an array, of numpy's or another's


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a file.

    Attributes:
        name: of the output.
        parts: what stands in it, side by side along the axis `VALUES`.
        axes: behind that of the batch.
    """

    name: str
    parts: tuple[str, ...]
    axes: tuple[str, ...] = (EACH, VALUES)

    @property
    def natural(self) -> tuple[str, ...]:
        """The axes in the order in which they are computed, `ONE` left out."""
        return tuple(axis for axis in (EACH, VALUES) if axis in self.axes)

    @property
    def is_whole(self) -> bool:
        """Whether it has integers: classes or counts by themselves."""
        return self.parts in ((LABEL,), (COUNT,))

    def shape(self, count: int | str, classes: int) -> list[int | str]:
        """Return the lengths of the axes behind that of the batch.

        Args:
            count: of boxes or detections; a name where it is free.
            classes: that are scored.
        """
        width = sum(WIDTHS.get(part, classes) for part in self.parts)
        lengths: dict[str, int | str] = {EACH: count, VALUES: width, ONE: 1}
        return [lengths[axis] for axis in self.axes]

    def taken_apart(self, values: Values) -> dict[str, Values]:
        """Return the parts of an output of one picture, (each, values) or as `natural` says.

        Args:
            values: an array without the batch's axis.
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
class Layout:
    """What a file with boxes gives.

    Attributes:
        name: by which it is asked for.
        head: kind of outputs that it is a form of: "boxes" or "nms".
        outputs: in order.
        unit: of boxes: `RELATIVE` to the network's input or `PIXELS` of it; None where the option
            `pixels` says which.
        padding: class of the places behind the detections.
        nms_ops: of `NMS_OPS`, those that can give it.
        facts: entries of the metadata that the layout's readers look for, from the network, its
            class names, and whether pictures of any size may come.
    """

    name: str
    head: str
    outputs: tuple[Output, ...]
    unit: str | None = None
    padding: int = -1
    nms_ops: tuple[str, ...] = NMS_OPS[:1]
    facts: Callable[["Network", Sequence[str], bool], dict[str, str]] = lambda *_: {}

    @property
    def box_form(self) -> str:
        """Either `CORNERS` or `CENTRES`."""
        parts = {part for output in self.outputs for part in output.parts}
        return CENTRES if CENTRES in parts else CORNERS

    @property
    def gives_best(self) -> bool:
        """Whether each box comes with the best of its scores alone."""
        return self.head == "boxes" and any(BEST in output.parts for output in self.outputs)

    def unit_of(self, *, pixels: bool) -> str:
        """Return the unit of boxes.

        Args:
            pixels: what is asked for where the layout leaves it open.
        """
        return self.unit or (PIXELS if pixels else RELATIVE)

    def outputs_of(self, network: "Network") -> list[Output]:
        """Return the outputs of a network's file: confidences where they are not the scores."""
        has_more = CONFIDENCES in box_outputs(network)
        return [output for output in self.outputs if has_more or output.parts != (CONFIDENCES,)]

    def taken_apart(self, values: Mapping[str, Values]) -> dict[str, Values]:
        """Return all parts of a picture's outputs.

        Args:
            values: arrays without the batch's axis, by the names of the outputs.
        """
        found: dict[str, Values] = {}
        for output in self.outputs:
            if output.name in values:
                found |= output.taken_apart(values[output.name])
        return found


def ultralytics_facts(
    network: "Network", names: Sequence[str], has_free_size: bool
) -> dict[str, str]:
    """Return the metadata of an Ultralytics file: numbers, and literals of Python.

    Loaders want a name for each class; one that is missing is the class's number, as in what
    `darkconv detect` prints.
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
        "args": repr({"dynamic": has_free_size}),  # if not, pictures are fitted to imgsz
    }


LAYOUTS = (
    Layout(
        name=SPLIT,
        head="boxes",
        outputs=(
            Output(name="boxes", parts=(CORNERS,)),
            Output(name="scores", parts=(SCORES,)),
            Output(name="confidences", parts=(CONFIDENCES,)),
        ),
    ),
    Layout(
        name="ultralytics",
        head="boxes",
        outputs=(Output(name="output0", parts=(CENTRES, SCORES), axes=(VALUES, EACH)),),
        unit=PIXELS,
        facts=ultralytics_facts,
    ),
    Layout(
        name="deepstream",
        head="boxes",
        outputs=(Output(name="output", parts=(CORNERS, BEST, LABEL)),),
        unit=PIXELS,
    ),
    Layout(
        name="yolov4",
        head="boxes",
        outputs=(
            Output(name="boxes", parts=(CORNERS,), axes=(EACH, ONE, VALUES)),
            Output(name="confs", parts=(SCORES,)),
        ),
        unit=RELATIVE,
    ),
    Layout(
        name=SPLIT,
        head="nms",
        outputs=(
            Output(name="boxes", parts=(CORNERS,)),
            Output(name="scores", parts=(BEST,), axes=(EACH,)),
            Output(name="classes", parts=(LABEL,), axes=(EACH,)),
            Output(name="count", parts=(COUNT,), axes=()),
        ),
    ),
    Layout(
        name="efficientnms",
        head="nms",
        outputs=(
            Output(name="num_dets", parts=(COUNT,), axes=(ONE,)),
            Output(name="det_boxes", parts=(CORNERS,)),
            Output(name="det_scores", parts=(BEST,), axes=(EACH,)),
            Output(name="det_classes", parts=(LABEL,), axes=(EACH,)),
        ),
        padding=0,
        nms_ops=NMS_OPS,
    ),
)
"""Every layout of every kind of head."""
LAYOUT_NAMES = tuple(dict.fromkeys(layout.name for layout in LAYOUTS))


def find_layout(head: str, name: str) -> Layout:
    """Return a layout.

    Args:
        head: "boxes" or "nms".
        name: of `LAYOUT_NAMES`.

    Raises:
        DarkconvError: the head has none of that name.
    """
    known = {layout.name: layout for layout in LAYOUTS if layout.head == head}
    if name not in known:
        raise DarkconvError(f"layout of head {head}", expected=", ".join(known), found=name)
    return known[name]
