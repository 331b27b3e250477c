"""The heads yolo, Gaussian_yolo, region, detection and iseg, which predict from features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import ALEXEYAB, PJREDDIE, Dialect
from darkconv.core.options import Floats, Ints, Notes, option, option_place
from darkconv.core.section import Line
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import HeadSpec, Remark, Ties, layer
from darkconv.errors import GraphError, Where

MISSING_ANCHOR = 0.5
"""Width and height of anchors that the cfg does not list."""
OVERLAPS = ("iou", "giou", "diou", "ciou")
NMS_KINDS = ("default", "greedynms", "diounms")
YOLOR_BOXES = {"scale_x_y": 2.0, "new_coords": True}
"""The options with which yolor computes every [yolo], whatever the cfg says."""


@dataclass(frozen=True, kw_only=True)
class Head(HeadSpec):
    """A head with the option `classes`."""

    classes: int = option(20, minimum=0)

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return a remark if the head has no classes and so finds nothing."""
        if self.classes:
            return ()
        return (Remark("classes", "without classes no box has a score, as in C"),)

    def num_classes(self, inputs: Shapes) -> int:
        """Return the number of classes that the head predicts."""
        return self.classes

    @property
    def rows_per_class(self) -> int:
        """Return the number of input channels, or values of a plain vector, for each class."""
        raise NotImplementedError

    def class_options(self, keep: Sequence[int]) -> Mapping[str, object]:
        """Return the new number of classes."""
        return {"classes": len(keep)}


@dataclass(frozen=True, kw_only=True)
class AnchorHead(Head):
    """A head with n anchors per cell: n * (box entries + classes) input channels."""

    needs_map = True
    finds_boxes = True

    num: int = option(1, minimum=1)
    anchors: Floats = option(())

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options, and add remarks about odd anchors and a number other than `num`."""
        spec = super().read(lines, dialect, where, notes)
        if spec.anchors:
            place = option_place(lines["anchors"], where)
            for note in spec._anchor_notes():
                notes.add(place, note)
        return spec

    def _anchor_notes(self) -> Iterator[str]:
        count, needed = len(self.anchors), 2 * self.anchor_count
        if count != needed:
            rest = "the rest is ignored" if count > needed else f"the rest is {MISSING_ANCHOR}"
            yield f"{count} numbers where num={self.num} needs {2 * self.num}: {rest}, as in C"
        if min(self.anchors) <= 0:
            yield f"a box of size {min(self.anchors):g} cannot be found"

    @property
    def box_entries(self) -> int:
        """Return the number of an anchor's entries before its first class: box and objectness."""
        raise NotImplementedError

    @property
    def anchor_indices(self) -> Sequence[int]:
        """Return the indices (from 0) of the anchors that this head predicts with."""
        return range(self.num)

    @property
    def anchor_count(self) -> int:
        """Return the number of all anchors, this head's and those of others."""
        return self.num

    @property
    def rows_per_class(self) -> int:
        """Return one channel for each anchor."""
        return len(self.anchor_indices)

    @property
    def all_anchors(self) -> npt.NDArray[np.float32]:
        """Return (anchor_count, 2) width and height of every anchor, this head's and others'.

        The unit is pixels of the network input in [yolo], and cells of the grid in [region].
        """
        pairs = np.full(2 * self.anchor_count, MISSING_ANCHOR, np.float32)
        given = self.anchors[: len(pairs)]
        pairs[: len(given)] = given
        return pairs.reshape(-1, 2)

    @property
    def head_anchors(self) -> npt.NDArray[np.float32]:
        """Return (anchors per cell, 2) width and height of this head's anchors."""
        return self.all_anchors[list(self.anchor_indices)]

    @property
    def anchor_entries(self) -> int:
        """Return the number of channels per anchor."""
        return self.box_entries + self.classes

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input shape, which must have `anchor_entries` channels for each anchor."""
        (x,) = inputs
        count = len(self.anchor_indices)
        needed = count * self.anchor_entries
        if x.c != needed:
            classes = x.c / count - self.box_entries
            alternative = f", or classes={int(classes)} here" if classes % 1 == 0 < classes else ""
            raise GraphError(
                where=Where(option="classes"),
                expected=f"{needed} input channels, {count} anchors x "
                f"({self.box_entries} + {self.classes} classes)",
                found=x.c,
                hint=f"filters={needed} in the layer before{alternative}",
            )
        return x

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the channels of the box entries and the kept classes of each anchor."""
        entries = [*range(self.box_entries), *(self.box_entries + k for k in keep)]
        starts = np.arange(len(self.anchor_indices)) * self.anchor_entries
        rows: npt.NDArray[np.int64] = np.add.outer(starts, np.array(entries)).ravel()
        return rows


@dataclass(frozen=True, kw_only=True)
class YoloHead(AnchorHead):
    """Options shared by [yolo] and [Gaussian_yolo]."""

    mask: Ints = option(lambda o: range(o["num"]))  # a tuple for a wrong num could fill the memory
    scale_x_y: float = option(1.0, only=ALEXEYAB)
    beta_nms: float = option(0.6, only=ALEXEYAB)

    map: str = option("", training=True)
    max: int = option(200, pjreddie=90, training=True)
    jitter: float = option(0.2, training=True)
    ignore_thresh: float = option(0.5, training=True)
    truth_thresh: float = option(1.0, training=True)
    random: float = option(0.0, training=True)
    max_delta: float = option(float("inf"), only=ALEXEYAB, training=True)
    counters_per_class: Ints = option((), only=ALEXEYAB, training=True)
    label_smooth_eps: float = option(0.0, only=ALEXEYAB, training=True)
    objectness_smooth: bool = option(False, only=ALEXEYAB, training=True)
    iou_normalizer: float = option(0.75, only=ALEXEYAB, training=True)
    obj_normalizer: float = option(1.0, only=ALEXEYAB, training=True)
    cls_normalizer: float = option(1.0, only=ALEXEYAB, training=True)
    delta_normalizer: float = option(1.0, only=ALEXEYAB, training=True)
    iou_loss: str = option(
        "mse", choices=("mse", *OVERLAPS), otherwise="iou", only=ALEXEYAB, training=True
    )
    iou_thresh_kind: str = option(
        "iou", choices=OVERLAPS, otherwise="iou", only=ALEXEYAB, training=True
    )
    iou_thresh: float = option(1.0, only=ALEXEYAB, training=True)
    resize: float = option(1.0, only=ALEXEYAB, training=True)
    focal_loss: bool = option(False, only=ALEXEYAB, training=True)

    @property
    def squashes(self) -> bool:
        """Return True if the head itself applies a sigmoid to the entries that lie in 0 to 1."""
        return True

    @property
    def squares_sizes(self) -> bool:
        """Return True if a box is (2 w)^2 anchors wide, and not e^w."""
        return False

    @property
    def squashes_sizes(self) -> bool:
        """Return True if the head also applies a sigmoid to w and h."""
        return self.squashes and self.squares_sizes

    @property
    def anchor_indices(self) -> Sequence[int]:
        """Return the mask."""
        return self.mask

    @property
    def anchor_count(self) -> int:
        """Return `num`, or more if the mask refers to further listed anchors."""
        listed = len(self.anchors) // 2
        return max(self.num, *(index + 1 for index in self._odd_masks if index < listed), 0)

    @property
    def unlisted_masks(self) -> list[int]:
        """Return the mask entries without a listed anchor, for which C reads other memory."""
        return [index for index in self._odd_masks if not 0 <= index < self.anchor_count]

    @property
    def _odd_masks(self) -> list[int]:
        """Return the mask entries that do not lie within 0 to `num` - 1."""
        masks: Sequence[int] = self.mask
        if isinstance(masks, range):
            return []
        return [index for index in masks if not 0 <= index < self.num]

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Return remarks on mask entries for which C reads memory outside its anchors."""
        unlisted = self.unlisted_masks
        listed = [index for index in self._odd_masks if index not in unlisted]
        found = list(super().remarks(inputs))
        for indices, rest in (
            (listed, "the listed anchors count here"),
            (unlisted, "no anchor is listed, so its boxes are not decoded here"),
        ):
            if indices:
                what = f"{','.join(map(str, indices))} is not below num={self.num}"
                found.append(Remark("mask", f"{what}, where C reads other memory: {rest}"))
        return tuple(found)

    def class_options(self, keep: Sequence[int]) -> Mapping[str, object]:
        """Return the number of classes, and the counters of the kept classes for training."""
        counters = self.counters_per_class
        if len(counters) != self.classes:
            return super().class_options(keep)
        kept = tuple(counters[k] for k in keep)
        return {**super().class_options(keep), "counters_per_class": kept}


@layer("yolo", foreign=("yolo4",))
@dataclass(frozen=True, kw_only=True)
class Yolo(YoloHead):
    """YOLOv3 head; the entries of an anchor are x, y, w, h, objectness and classes.

    A sigmoid acts on all entries but w and h, then x and y are stretched by `scale_x_y` about 0.5.
    With `new_coords` the head has no sigmoid, because the convolution before it has one. yolor has
    `new_coords` and `scale_x_y=2` in every head, and the sigmoid in the head, also on w and h.
    """

    new_coords: bool = option(False, only=ALEXEYAB)
    nms_kind: str = option("default", choices=NMS_KINDS, otherwise="default", only=ALEXEYAB)
    embedding_layer: int | None = option(None, only=ALEXEYAB, training=True)
    show_details: bool = option(True, only=ALEXEYAB, training=True)
    track_history_size: int = option(5, only=ALEXEYAB, training=True)
    sim_thresh: float = option(0.8, only=ALEXEYAB, training=True)
    dets_for_track: int = option(1, only=ALEXEYAB, training=True)
    dets_for_show: int = option(1, only=ALEXEYAB, training=True)
    track_ciou_norm: float = option(0.01, only=ALEXEYAB, training=True)

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """Read the options; yolor has the same form of box in every cfg."""
        spec = super().read(lines, dialect, where, notes)
        if not dialect.yolo_squashes_sizes:
            return spec
        given = {"scale_x_y": spec.scale_x_y, "new_coords": spec.new_coords}
        for key in given.keys() & lines.keys():
            if given[key] != YOLOR_BOXES[key]:
                text = f"is {YOLOR_BOXES[key]:g} in every [yolo] of the {dialect} dialect"
                notes.add(option_place(lines[key], where), f"{text}: ignored")
        return replace(spec, scale_x_y=YOLOR_BOXES["scale_x_y"], new_coords=True)

    @property
    def squashes(self) -> bool:
        """Return True if the head itself applies a sigmoid to the entries that lie in 0 to 1."""
        return not self.new_coords or self.dialect.yolo_squashes_sizes

    @property
    def squares_sizes(self) -> bool:
        """Return True if a box is (2 w)^2 anchors wide, and not e^w."""
        return self.new_coords

    @property
    def box_entries(self) -> int:
        """Return 5: x, y, w, h and objectness."""
        return 5


@layer("Gaussian_yolo", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class GaussianYolo(YoloHead):
    """YOLOv3 head with an uncertainty after each coordinate.

    The entries of an anchor are x, sx, y, sy, w, sw, h, sh, objectness and classes. A sigmoid acts
    on all entries but w and h.
    """

    nms_kind: str = option("cornersnms", choices=(*NMS_KINDS, "cornersnms"), otherwise="default")
    yolo_point: str = option(
        "center", choices=("center", "left_top", "right_bottom"), otherwise="center"
    )
    uc_normalizer: float = option(1.0, training=True)

    @property
    def box_entries(self) -> int:
        """Return 9: four means, each with its deviation, and objectness."""
        return 9


@layer("region")
@dataclass(frozen=True, kw_only=True)
class Region(AnchorHead):
    """YOLOv2 head; the entries of an anchor are the coordinates, objectness and classes.

    pjreddie has the layout (c, h, w), a sigmoid on x, y and objectness, and softmax or sigmoid on
    the classes. alexeyab orders the values as [cell][anchor][entry] while the reported shape is the
    same. It has no sigmoid on x and y, and leaves classes without softmax as they are. A class tree
    has one softmax per group. (The original's CPU code gives no finite numbers there; its GPU code
    computes this.)
    """

    coords: int = option(4, minimum=4)
    softmax: bool = option(False)
    background: bool = option(False, only=PJREDDIE)
    tree: str = option("")
    map: str = option("")
    classfix: int = option(0)
    keep_classes: Ints = option(())
    """An option that Darknet does not have: the classes kept after the softmax; empty for all."""

    log: bool = option(False, training=True)
    sqrt: bool = option(False, training=True)
    max: int = option(200, pjreddie=30, training=True)
    jitter: float = option(0.2, training=True)
    rescore: bool = option(False, training=True)
    thresh: float = option(0.5, training=True)
    absolute: bool = option(False, training=True)
    random: float = option(0.0, training=True)
    coord_scale: float = option(1.0, training=True)
    object_scale: float = option(1.0, training=True)
    noobject_scale: float = option(1.0, training=True)
    mask_scale: float = option(1.0, training=True)
    class_scale: float = option(1.0, training=True)
    bias_match: bool = option(False, training=True)
    focal_loss: bool = option(False, only=ALEXEYAB, training=True)
    resize: float = option(1.0, only=ALEXEYAB, training=True)

    @property
    def box_entries(self) -> int:
        """Return the number of coordinates plus one for the objectness."""
        return self.coords + 1

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input shape, with the channels of the kept classes only."""
        if self.coords != 4 and self.dialect.region_is_cell_major:
            raise GraphError(
                where=Where(option="coords"), expected="4 in this dialect", found=self.coords
            )
        check_kept(self.keep_classes, self.classes)
        return super().infer_shape(inputs)._replace(c=self.num * self.output_entries)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties: each output channel comes from one input channel."""
        keep = self.keep_classes or range(self.classes)
        return self.class_rows(inputs, keep).reshape(-1, 1)

    def num_classes(self, inputs: Shapes) -> int:
        """Return the number of classes kept after the softmax."""
        return len(self.keep_classes) or self.classes

    @property
    def output_entries(self) -> int:
        """Return the number of values per anchor that the head outputs."""
        return self.box_entries + (len(self.keep_classes) or self.classes)

    @property
    def kept_entries(self) -> list[int]:
        """Return the indices of an anchor's entries that are kept after the softmax."""
        return [*range(self.box_entries), *(self.box_entries + k for k in self.keep_classes)]


@layer("detection")
@dataclass(frozen=True, kw_only=True)
class Detection(Head):
    """YOLOv1 head on a plain vector.

    The vector holds class scores [side * side][classes], then confidences [side * side][num], then
    boxes [side * side][num][4]. The values pass unchanged; `softmax` acts on the classes of each
    cell.
    """

    finds_boxes = True

    classes: int = option(1, minimum=0)
    coords: int = option(1, minimum=1)
    num: int = option(1, minimum=1)
    side: int = option(7, minimum=1)
    softmax: bool = option(False)
    sqrt: bool = option(False)

    rescore: bool = option(False, training=True)
    max: int = option(200, pjreddie=90, training=True)
    forced: bool = option(False, training=True)
    jitter: float = option(0.2, training=True)
    random: float = option(0.0, training=True)
    reorg: bool = option(False, training=True)
    coord_scale: float = option(1.0, training=True)
    object_scale: float = option(1.0, training=True)
    noobject_scale: float = option(1.0, training=True)
    class_scale: float = option(1.0, training=True)
    resize: float = option(1.0, only=ALEXEYAB, training=True)

    @property
    def has_softmax(self) -> bool:
        """Return True if there is a softmax, and classes for it to act on."""
        return self.softmax and self.classes > 0

    @property
    def cells(self) -> int:
        """Return the number of grid cells."""
        return self.side**2

    @property
    def rows_per_class(self) -> int:
        """Return one value for each cell."""
        return self.cells

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of a vector of side * side * (classes + num * (1 + coords)) values."""
        (x,) = inputs
        needed = self.cells * (self.classes + self.num * (1 + self.coords))
        if x.size != needed:
            raise GraphError(
                expected=f"{needed} inputs, {self.side} x {self.side} cells x "
                f"({self.classes} classes + {self.num} boxes x {1 + self.coords})",
                found=x.size,
                hint=f"output={needed} in the [connected] layer before",
            )
        return FlatShape.of(needed)

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the values of the kept classes of each cell, then of all confidences and boxes."""
        scores = np.arange(self.cells)[:, None] * self.classes + np.array(keep)
        rest = np.arange(self.cells * self.classes, inputs[0].size)
        return np.concatenate([scores.ravel(), rest])


@layer("iseg", only=PJREDDIE)
@dataclass(frozen=True, kw_only=True)
class Iseg(Head):
    """Instance segmentation: a sigmoid on the class channels, none on the `ids` embeddings."""

    needs_map: ClassVar[bool] = True

    ids: int = option(32, minimum=0)

    @property
    def rows_per_class(self) -> int:
        """Return a single channel."""
        return 1

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input shape, which must have `classes` + `ids` channels."""
        (x,) = inputs
        if x.c != self.classes + self.ids:
            raise GraphError(
                expected=f"{self.classes + self.ids} input channels, "
                f"{self.classes} classes + {self.ids} ids",
                found=x.c,
            )
        return x

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the channels of the kept classes, then of all ids."""
        return np.array([*keep, *range(self.classes, self.classes + self.ids)])


def check_kept(keep: Ints, total: int) -> None:
    """Raise an error unless the classes of `keep_classes` are distinct and exist.

    Args:
        keep: class indices, from 0.
        total: number of classes.

    Raises:
        GraphError: a class is named twice or does not exist.
    """
    if len(set(keep)) < len(keep) or not all(0 <= index < total for index in keep):
        raise GraphError(
            where=Where(option="keep_classes"),
            expected=f"different classes from 0 to {total - 1}",
            found=",".join(map(str, keep)),
        )


def nms_settings(spec: Any) -> tuple[str, float]:
    """Return the kind of non-maximum suppression (NMS) that a head asks for, and its exponent.

    Args:
        spec: spec of a head; heads without these options get "sort" and 0.6.

    Returns:
        "sort" (plain NMS) or the value of `nms_kind`, and the value of `beta_nms`.
    """
    if isinstance(spec, YoloHead) and spec.dialect.follows(ALEXEYAB):
        kind = getattr(spec, "nms_kind", "default")
        return ("sort" if kind == "default" else kind), spec.beta_nms
    return "sort", 0.6
