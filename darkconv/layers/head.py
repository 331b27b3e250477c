"""yolo, Gaussian_yolo, region, detection, iseg: features in, predictions out."""

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
"""Width and height of anchors that the cfg does not give."""
OVERLAPS = ("iou", "giou", "diou", "ciou")
NMS_KINDS = ("default", "greedynms", "diounms")
YOLOR_BOXES = {"scale_x_y": 2.0, "new_coords": True}
"""What yolor computes every [yolo] with, in Darknet's words."""


@dataclass(frozen=True, kw_only=True)
class Head(HeadSpec):
    """A head with a `classes` option."""

    classes: int = option(20, minimum=0)

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Say that a head without classes finds nothing."""
        if self.classes:
            return ()
        return (Remark("classes", "without classes no box has a score, as in C"),)

    def num_classes(self, inputs: Shapes) -> int:
        """Number of classes predicted."""
        return self.classes

    @property
    def rows_per_class(self) -> int:
        """Input channels, or values of a plain vector, that belong to one class."""
        raise NotImplementedError

    def class_options(self, keep: Sequence[int]) -> Mapping[str, object]:
        """The number of classes."""
        return {"classes": len(keep)}


@dataclass(frozen=True, kw_only=True)
class AnchorHead(Head):
    """A head with n anchors per cell: n * (entries before the classes + classes) channels."""

    needs_map = True
    finds_boxes = True

    num: int = option(1, minimum=1)
    anchors: Floats = option(())

    @classmethod
    def read(cls, lines: Mapping[str, Line], dialect: Dialect, where: Where, notes: Notes) -> Self:
        """As for every layer; tells of anchors that `num` does not count, and of odd ones."""
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
        """Entries of an anchor before its first class: box and objectness."""
        raise NotImplementedError

    @property
    def anchor_indices(self) -> Sequence[int]:
        """The anchors that this head predicts with."""
        return range(self.num)

    @property
    def anchor_count(self) -> int:
        """Number of all anchors, this head's and others'."""
        return self.num

    @property
    def rows_per_class(self) -> int:
        """One for each anchor."""
        return len(self.anchor_indices)

    @property
    def all_anchors(self) -> npt.NDArray[np.float32]:
        """(anchor_count, 2) width and height of every anchor, this head's and others'."""
        pairs = np.full(2 * self.anchor_count, MISSING_ANCHOR, np.float32)
        given = self.anchors[: len(pairs)]
        pairs[: len(given)] = given
        return pairs.reshape(-1, 2)

    @property
    def head_anchors(self) -> npt.NDArray[np.float32]:
        """(anchors per cell, 2) width and height of this head's anchors."""
        return self.all_anchors[list(self.anchor_indices)]

    @property
    def anchor_entries(self) -> int:
        """Channels per anchor."""
        return self.box_entries + self.classes

    def infer_shape(self, inputs: Shapes) -> Shape:
        """That of the input, which must have anchor_entries channels for each anchor."""
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
        """Of each anchor the box entries and the kept classes."""
        entries = [*range(self.box_entries), *(self.box_entries + k for k in keep)]
        starts = np.arange(len(self.anchor_indices)) * self.anchor_entries
        rows: npt.NDArray[np.int64] = np.add.outer(starts, np.array(entries)).ravel()
        return rows


@dataclass(frozen=True, kw_only=True)
class YoloHead(AnchorHead):
    """Options that [yolo] and [Gaussian_yolo] share."""

    mask: Ints = option(lambda o: range(o["num"]))  # no tuple: a wrong num would fill the memory
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
        """Whether the head itself has a sigmoid on the entries that are between 0 and 1."""
        return True

    @property
    def squares_sizes(self) -> bool:
        """Whether a box is (2 w)^2 anchors wide, not e^w."""
        return False

    @property
    def squashes_sizes(self) -> bool:
        """Whether the head has a sigmoid on w and h as well."""
        return self.squashes and self.squares_sizes

    @property
    def anchor_indices(self) -> Sequence[int]:
        """The mask."""
        return self.mask

    @property
    def anchor_count(self) -> int:
        """`num`, or more where the mask goes on with anchors that are listed."""
        listed = len(self.anchors) // 2
        return max(self.num, *(index + 1 for index in self._odd_masks if index < listed), 0)

    @property
    def unlisted_masks(self) -> list[int]:
        """Entries of the mask that no anchor is listed for, where C reads other memory."""
        return [index for index in self._odd_masks if not 0 <= index < self.anchor_count]

    @property
    def _odd_masks(self) -> list[int]:
        """Entries of the mask that are not below `num`."""
        masks: Sequence[int] = self.mask
        if isinstance(masks, range):
            return []
        return [index for index in masks if not 0 <= index < self.num]

    def remarks(self, inputs: Shapes) -> tuple[Remark, ...]:
        """Say where C reads before or behind its anchors."""
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
        """The number of classes, and the training counters of those kept."""
        counters = self.counters_per_class
        if len(counters) != self.classes:
            return super().class_options(keep)
        kept = tuple(counters[k] for k in keep)
        return {**super().class_options(keep), "counters_per_class": kept}


@layer("yolo", foreign=("yolo4",))
@dataclass(frozen=True, kw_only=True)
class Yolo(YoloHead):
    """YOLOv3 head; per anchor x, y, w, h, objectness, classes.

    Sigmoid on all but w and h, then x and y are stretched by `scale_x_y` about 0.5. With
    `new_coords` there is no sigmoid: the convolution before has it. yolor has `new_coords` and
    `scale_x_y=2` in every head, and the sigmoid in the head, on w and h too.
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
        """As for every anchor head; yolor's form of box is the same in every cfg."""
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
        """Whether the head itself has a sigmoid on the entries that are between 0 and 1."""
        return not self.new_coords or self.dialect.yolo_squashes_sizes

    @property
    def squares_sizes(self) -> bool:
        """Whether a box is (2 w)^2 anchors wide, not e^w."""
        return self.new_coords

    @property
    def box_entries(self) -> int:
        """x, y, w, h, objectness."""
        return 5


@layer("Gaussian_yolo", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class GaussianYolo(YoloHead):
    """YOLOv3 head with an uncertainty behind each coordinate.

    Per anchor x, sx, y, sy, w, sw, h, sh, objectness, classes; sigmoid on all but w and h.
    """

    nms_kind: str = option("cornersnms", choices=(*NMS_KINDS, "cornersnms"), otherwise="default")
    yolo_point: str = option(
        "center", choices=("center", "left_top", "right_bottom"), otherwise="center"
    )
    uc_normalizer: float = option(1.0, training=True)

    @property
    def box_entries(self) -> int:
        """Four means with deviations, objectness."""
        return 9


@layer("region")
@dataclass(frozen=True, kw_only=True)
class Region(AnchorHead):
    """YOLOv2 head; per anchor the coordinates, objectness, classes.

    pjreddie: (c, h, w) layout, sigmoid on x, y and objectness, softmax or sigmoid on classes.
    alexeyab: the values lie as [cell][anchor][entry] behind the same reported shape; x and y
    are not squashed, classes without softmax stay raw.
    A class tree takes one softmax per group (the original's CPU code gives no finite numbers
    there; its GPU code does this).
    """

    coords: int = option(4, minimum=4)
    softmax: bool = option(False)
    background: bool = option(False, only=PJREDDIE)
    tree: str = option("")
    map: str = option("")
    classfix: int = option(0)
    keep_classes: Ints = option(())
    """Not of Darknet's: the classes that are left behind the softmax; empty for all."""

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
        """The coordinates and objectness."""
        return self.coords + 1

    def infer_shape(self, inputs: Shapes) -> Shape:
        """That of the input."""
        if self.coords != 4 and self.dialect.region_is_cell_major:
            raise GraphError(
                where=Where(option="coords"), expected="4 in this dialect", found=self.coords
            )
        check_kept(self.keep_classes, self.classes)
        return super().infer_shape(inputs)._replace(c=self.num * self.output_entries)

    def ties(self, inputs: Shapes) -> Ties:
        """Each channel comes from one of the input."""
        keep = self.keep_classes or range(self.classes)
        return self.class_rows(inputs, keep).reshape(-1, 1)

    def num_classes(self, inputs: Shapes) -> int:
        """Those that are left behind the softmax."""
        return len(self.keep_classes) or self.classes

    @property
    def output_entries(self) -> int:
        """Values per anchor that the head gives."""
        return self.box_entries + (len(self.keep_classes) or self.classes)

    @property
    def kept_entries(self) -> list[int]:
        """Entries of an anchor that are left behind the softmax."""
        return [*range(self.box_entries), *(self.box_entries + k for k in self.keep_classes)]


@layer("detection")
@dataclass(frozen=True, kw_only=True)
class Detection(Head):
    """YOLOv1 head on a plain vector.

    Class scores [side * side][classes], then confidences [side * side][num], then boxes
    [side * side][num][4]. Values pass unchanged; `softmax` acts on the classes of each cell.
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
        """Whether a softmax runs over classes: with none there is nothing to do."""
        return self.softmax and self.classes > 0

    @property
    def cells(self) -> int:
        """Grid cells."""
        return self.side**2

    @property
    def rows_per_class(self) -> int:
        """One for each cell."""
        return self.cells

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Values: side * side * (classes + num * (1 + coords))."""
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
        """The kept classes of each cell, then all confidences and boxes."""
        scores = np.arange(self.cells)[:, None] * self.classes + np.array(keep)
        rest = np.arange(self.cells * self.classes, inputs[0].size)
        return np.concatenate([scores.ravel(), rest])


@layer("iseg", only=PJREDDIE)
@dataclass(frozen=True, kw_only=True)
class Iseg(Head):
    """Instance segmentation: sigmoid on the class channels, `ids` embedding channels raw."""

    needs_map: ClassVar[bool] = True

    ids: int = option(32, minimum=0)

    @property
    def rows_per_class(self) -> int:
        """A single channel."""
        return 1

    def infer_shape(self, inputs: Shapes) -> Shape:
        """As many channels as classes and ids."""
        (x,) = inputs
        if x.c != self.classes + self.ids:
            raise GraphError(
                expected=f"{self.classes + self.ids} input channels, "
                f"{self.classes} classes + {self.ids} ids",
                found=x.c,
            )
        return x

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """The kept classes, then all ids."""
        return np.array([*keep, *range(self.classes, self.classes + self.ids)])


def check_kept(keep: Ints, total: int) -> None:
    """Raise an error for classes that cannot be left behind a softmax."""
    if len(set(keep)) < len(keep) or not all(0 <= index < total for index in keep):
        raise GraphError(
            where=Where(option="keep_classes"),
            expected=f"different classes from 0 to {total - 1}",
            found=",".join(map(str, keep)),
        )


def nms_settings(spec: Any) -> tuple[str, float]:
    """Kind of suppression and exponent that a head asks for; plain suppression is "sort"."""
    if isinstance(spec, YoloHead) and spec.dialect.follows(ALEXEYAB):
        kind = getattr(spec, "nms_kind", "default")
        return ("sort" if kind == "default" else kind), spec.beta_nms
    return "sort", 0.6
