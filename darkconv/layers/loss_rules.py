"""What the losses of heads have in common in every framework: settings, numbers, checks.

The formulas are those of Darknet's C programs; a spoke's own modules compute them.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer
from darkconv.core.options import Ints
from darkconv.core.tree import Tree
from darkconv.errors import GraphError, OptionError, UnsupportedError, Where
from darkconv.layers.head import Detection, GaussianYolo, Region, YoloHead

Rule = Literal["default", "darknet"]
Factors = npt.NDArray[np.float64]

LIKELY_CLASS = 0.25
"""alexeyab: only boxes with a class score above this are spared as good enough."""
GOOD_IOU = 0.5
"""Above it a prediction covers its truth, where recall is counted."""
CIOU_EPSILON = 1e-6
"""Added by Darknet to the divisor of CIoU's trade-off factor."""
MAX_EXPONENT = 20.0
"""Raw w and h act up to here: e^20 anchors, whose area squared is still a float32."""
MIN_SIZE = 1e-9
"""Of a predicted box with `new_coords`, in anchors."""
POINTS = {"left_top": -0.5, "right_bottom": 0.5}
"""Of `yolo_point`: how many sizes of the box its predicted point lies from the centre."""
FOCAL_FACTOR = 0.5
FOCAL_EPSILON = 1e-15
"""Added to the score whose logarithm [region] takes for `focal_loss`."""

LEAST_DEVIATION = 1e-6
DEVIATION_OFFSET = 0.3
DENSITY_OFFSET = 1e-9
"""Added by Darknet to a deviation that it divides by, and to a density that it divides by."""
HIGHEST_DENSITY = 1 / (math.sqrt(2 * math.pi) * DEVIATION_OFFSET) + DENSITY_OFFSET

OBJECTNESS = 4
"""The entry of [region] that says it."""
CLASS_ONLY = 100_000.0
"""A label whose x and y are above this has a class but no box; for heads with a class tree."""
PJREDDIE_ROWS = 30
"""Labels of [region] that the original reads, whatever `max` says."""
PRIOR_PICTURES = 12_800
"""So long every box is drawn to the middle of its cell and the shape of its anchor ..."""
PRIOR_SCALE = 0.01
"""... with this weight."""

RANDOM_PICTURES = 64_000
"""So long `random=1` of [detection] picks boxes at random."""
SMALL_AREA = 0.1
"""`forced=1`: objects below this share of the picture belong to box 1, others to box 0."""

UNKNOWN = -1234.0
"""A truth value that says: nothing is known (C's SECRET_NUM)."""


@dataclass(frozen=True)
class Setting:
    """What a loss depends on beside predictions and truths.

    Attributes:
        input_size: (width, height) of the network input in pixels.
        rule: "default" has true derivatives and none of the C code's slips; "darknet" gives
            at the head's input exactly minus the `delta` of the C program.
        seen: pictures that the network has been trained on, this batch among them, as C reads it.
        class_weights: factor of each class on all that its truths cost, box and objectness too;
            empty for 1.
        class_map: the head's class for each number of a label, as the file of `map=` has it; empty
            where labels have the head's own numbers. Class weights then count by labels.
    """

    input_size: tuple[int, int]
    rule: Rule = "default"
    seen: int = 0
    class_weights: tuple[float, ...] = ()
    class_map: tuple[int, ...] = ()


def class_factors(setting: Setting, classes: int, labels: Ints = ()) -> Factors:
    """Return how much each class of a head counts; 1 where the setting does not say.

    Args:
        setting: has the weights, one for each number of a label.
        classes: of the head.
        labels: the head's class for each number of a label, if that is another.

    Raises:
        OptionError: there is another number of weights.
    """
    given, named = setting.class_weights, labels or setting.class_map or range(classes)
    factors = np.ones(classes)
    if not given:
        return factors
    if len(given) != len(named):
        raise OptionError(
            where=Where(option="class_weights"),
            expected=f"{len(named)} numbers, one for each class",
            found=len(given),
        )
    factors[list(named)] = given
    return factors


def check_class_map(layer: Layer, class_map: tuple[int, ...]) -> None:
    """Raise an error unless labels of a layer's truths can be numbered as it wants them.

    Raises:
        UnsupportedError: the layer has a `map=` whose content is not given.
    """
    name = getattr(layer.spec, "map", "")
    if name and not class_map:
        raise UnsupportedError(
            f"labels are numbered by {name}",
            where=Where(layer=layer.index, section=layer.type, option="map"),
            hint="class_map=darkconv.darknet.class_map.read_class_map(layer, model.network)",
        )


def class_multipliers(spec: YoloHead) -> Factors:
    """(classes,) how much more a rare class counts, as `counters_per_class` says.

    Raises:
        OptionError: their number is not that of the classes.
    """
    counters = spec.counters_per_class
    if not counters:
        return np.ones(spec.classes)
    if len(counters) != spec.classes:
        raise OptionError(
            where=Where(section=spec.type, option="counters_per_class"),
            expected=f"{spec.classes} numbers, one for each class",
            found=len(counters),
        )
    counts = np.array(counters, np.float64)
    rarity: Factors = np.minimum(counts.max() / counts.clip(min=1), spec.max_delta)
    return rarity


def is_logit(spec: YoloHead) -> bool:
    """Whether raw entries are to be squashed; with `new_coords` they come so."""
    return spec.squashes


def check_rule(spec: YoloHead, setting: Setting) -> None:
    """Check that a head can be trained by the rule that is set.

    Raises:
        UnsupportedError: the rule is Darknet's, and no C program has this head.
    """
    if setting.rule == "darknet" and spec.squashes_sizes:
        raise UnsupportedError(
            f"no C program has a head as of the {spec.dialect} dialect, whose deltas the rule "
            "darknet would give",
            where=Where(section=spec.type),
            hint="the default rule trains it",
        )


def point_shift(spec: YoloHead) -> float:
    """How many sizes a box's predicted point lies from its centre."""
    return POINTS.get(spec.yolo_point, 0.0) if isinstance(spec, GaussianYolo) else 0.0


def trainable_region(layer: Layer) -> Region:
    """The spec of a [region] layer.

    Raises:
        UnsupportedError: its truths are more than classes and boxes.
    """
    spec = layer.spec
    assert isinstance(spec, Region)
    if spec.coords > 4:
        where = Where(layer=layer.index, section=spec.type, option="coords")
        raise UnsupportedError("those behind the box have no labels", where=where)
    return spec


def label_classes(spec: Region, setting: Setting) -> Ints:
    """Return the head's class for each number of a label."""
    return setting.class_map or spec.keep_classes or tuple(range(spec.classes))


def joins_background(spec: Region, *, has_tree: bool) -> bool:
    """Whether objectness is one more class: that of the background."""
    return spec.background and spec.softmax and not has_tree


def rows_read(spec: Region) -> int:
    """How many labels of a picture C reads."""
    return PJREDDIE_ROWS if spec.dialect == PJREDDIE else spec.max


def trainable_detection(layer: Layer) -> Detection:
    """The spec of a [detection] layer.

    Raises:
        UnsupportedError: boxes of other than four coordinates.
    """
    spec = layer.spec
    assert isinstance(spec, Detection)
    if spec.coords != 4:
        where = Where(layer=layer.index, section=spec.type, option="coords")
        raise UnsupportedError(where=where, expected=4, found=spec.coords)
    return spec


def class_tree(layer: Layer, classes: int) -> Tree | None:
    """The tree that a layer's `tree=` names; None if it names none.

    Raises:
        GraphError: its file was not found, or has another number of classes.
    """
    name, tree = getattr(layer.spec, "tree", ""), layer.tree
    if not name:
        return None
    where = Where(layer=layer.index, section=layer.type, option="tree")
    if tree is None:
        raise GraphError(f"{name} was not found", where=where)
    if len(tree.parents) != classes:
        raise GraphError(
            where=where, expected=f"a tree of {classes} classes", found=len(tree.parents)
        )
    return tree
