"""Settings, constants and checks that the losses of heads share in every framework.

The formulas are those of Darknet's C programs; each framework's own modules compute them.
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
"""alexeyab's program ignores only boxes with a class score above this, if they fit well enough."""
GOOD_IOU = 0.5
"""For the recall, a prediction with an IoU above this covers its truth."""
CIOU_EPSILON = 1e-6
"""Darknet adds this number to the divisor of CIoU's trade-off factor."""
MAX_EXPONENT = 20.0
"""Raw w and h are limited to this: e^20 anchors, the square of whose area still fits float32."""
MIN_SIZE = 1e-9
"""Smallest width and height of a predicted box with `new_coords`, in anchors."""
POINTS = {"left_top": -0.5, "right_bottom": 0.5}
"""Distance of the predicted point of a box from its centre by `yolo_point`, in box sizes."""
FOCAL_FACTOR = 0.5
FOCAL_EPSILON = 1e-15
"""[region] adds this number to the score before it takes the logarithm for `focal_loss`."""

LEAST_DEVIATION = 1e-6
DEVIATION_OFFSET = 0.3
DENSITY_OFFSET = 1e-9
"""Darknet adds the offsets to a deviation and to a density before it divides by them."""
HIGHEST_DENSITY = 1 / (math.sqrt(2 * math.pi) * DEVIATION_OFFSET) + DENSITY_OFFSET

OBJECTNESS = 4
"""Index (from 0) of the objectness among the entries of [region]."""
CLASS_ONLY = 100_000.0
"""For heads with a class tree, a label whose x and y exceed this has a class but no box."""
PJREDDIE_ROWS = 30
"""Number of labels of [region] that the original program reads, whatever `max` says."""
PRIOR_PICTURES = 12_800
"""For this number of pictures, each box is drawn to its cell's middle and its anchor's shape."""
PRIOR_SCALE = 0.01
"""Weight of that loss."""

RANDOM_PICTURES = 64_000
"""For this number of pictures, `random=1` of [detection] picks boxes at random."""
SMALL_AREA = 0.1
"""With `forced=1`, objects below this share of the picture belong to box 1, others to box 0."""

UNKNOWN = -1234.0
"""A truth value that means that nothing is known (C's SECRET_NUM)."""


@dataclass(frozen=True)
class Setting:
    """The data on which a loss depends besides predictions and truths.

    Attributes:
        input_size: (width, height) of the network input in pixels.
        rule: "default" uses true derivatives without the errors of the C code; "darknet" gives a
            gradient at the head's input that is exactly minus the `delta` of the C program.
        seen: number of pictures that the network has been trained on, this batch included, as C
            counts them.
        class_weights: factor for each class on the whole loss of its truths, including box and
            objectness; empty for 1.
        class_map: the head's class for each class number of a label, as in the file of `map=`;
            empty if labels use the head's own numbers. If there is a map, `class_weights` has one
            factor for each class number of a label.
    """

    input_size: tuple[int, int]
    rule: Rule = "default"
    seen: int = 0
    class_weights: tuple[float, ...] = ()
    class_map: tuple[int, ...] = ()


def class_factors(setting: Setting, classes: int, labels: Ints = ()) -> Factors:
    """Return the factor of each class of a head; 1 if the setting gives none.

    Args:
        setting: gives the factors, one for each class number of a label.
        classes: number of classes of the head.
        labels: the head's class for each class number of a label; empty to use the setting's
            class map, or the head's own numbers if there is none.

    Returns:
        float64 (classes,).

    Raises:
        OptionError: the number of factors is not that of the classes of labels.
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
    """Raise an error if the labels of a head need a class map that is not given.

    Args:
        layer: the head.
        class_map: the content of the file that `map=` names; empty if it is not given.

    Raises:
        UnsupportedError: the layer has the option `map=`, but the class map is empty.
    """
    name = getattr(layer.spec, "map", "")
    if name and not class_map:
        raise UnsupportedError(
            f"labels are numbered by {name}",
            where=Where(layer=layer.index, section=layer.type, option="map"),
            hint="class_map=darkconv.darknet.class_map.read_class_map(layer, model.network)",
        )


def class_multipliers(spec: YoloHead) -> Factors:
    """Return a factor for each class that is larger for rarer classes, from `counters_per_class`.

    The factor is the largest counter divided by that of the class, limited to `max_delta`.

    Args:
        spec: spec of a [yolo] or [Gaussian_yolo] head.

    Returns:
        float64 (classes,); all 1 without counters.

    Raises:
        OptionError: the number of counters is not that of the classes.
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
    """Return True if the raw entries still need a sigmoid; with `new_coords` they already had one.

    Args:
        spec: spec of a [yolo] or [Gaussian_yolo] head.
    """
    return spec.squashes


def check_rule(spec: YoloHead, setting: Setting) -> None:
    """Check that a head can be trained by the chosen rule.

    Args:
        spec: spec of a [yolo] or [Gaussian_yolo] head.
        setting: gives the rule.

    Raises:
        UnsupportedError: the rule is "darknet", and no C program has such a head.
    """
    if setting.rule == "darknet" and spec.squashes_sizes:
        raise UnsupportedError(
            f"no C program has a head as of the {spec.dialect} dialect, whose deltas the rule "
            "darknet would give",
            where=Where(section=spec.type),
            hint="the default rule trains it",
        )


def point_shift(spec: YoloHead) -> float:
    """Return the distance of a box's predicted point from its centre, in box sizes.

    Args:
        spec: spec of a [yolo] or [Gaussian_yolo] head.
    """
    return POINTS.get(spec.yolo_point, 0.0) if isinstance(spec, GaussianYolo) else 0.0


def trainable_region(layer: Layer) -> Region:
    """Return the spec of a [region] layer, after a check that it can be trained.

    Args:
        layer: a [region] layer.

    Raises:
        UnsupportedError: the head has more than four coordinates, for which there are no labels.
    """
    spec = layer.spec
    assert isinstance(spec, Region)
    if spec.coords > 4:
        where = Where(layer=layer.index, section=spec.type, option="coords")
        raise UnsupportedError("those behind the box have no labels", where=where)
    return spec


def label_classes(spec: Region, setting: Setting) -> Ints:
    """Return the head's class for each class number of a label.

    Args:
        spec: spec of a [region] head.
        setting: gives the class map.
    """
    return setting.class_map or spec.keep_classes or tuple(range(spec.classes))


def joins_background(spec: Region, *, has_tree: bool) -> bool:
    """Return True if the background is one more class in the softmax, given by the objectness.

    Args:
        spec: spec of a [region] head.
        has_tree: True if the head has a class tree.
    """
    return spec.background and spec.softmax and not has_tree


def rows_read(spec: Region) -> int:
    """Return the number of labels per picture that C reads.

    Args:
        spec: spec of a [region] head.
    """
    return PJREDDIE_ROWS if spec.dialect == PJREDDIE else spec.max


def trainable_detection(layer: Layer) -> Detection:
    """Return the spec of a [detection] layer, after a check that it can be trained.

    Args:
        layer: a [detection] layer.

    Raises:
        UnsupportedError: its boxes do not have four coordinates.
    """
    spec = layer.spec
    assert isinstance(spec, Detection)
    if spec.coords != 4:
        where = Where(layer=layer.index, section=spec.type, option="coords")
        raise UnsupportedError(where=where, expected=4, found=spec.coords)
    return spec


def class_tree(layer: Layer, classes: int) -> Tree | None:
    """Return the class tree that a layer's `tree=` names; None if it names none.

    Args:
        layer: a layer that may have the option `tree=`.
        classes: number of classes that the tree must have.

    Raises:
        GraphError: the file of the tree was not found, or has another number of classes.
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
