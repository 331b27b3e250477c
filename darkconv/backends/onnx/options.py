"""The options of an ONNX file."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

import onnx

from darkconv.arguments import check_fields
from darkconv.backends.choices import HEADS, HEADS_OF, INPUTS
from darkconv.backends.layouts import (
    CORNERS,
    LAYOUTS,
    NMS_OPS,
    PIXELS,
    RELATIVE,
    SPLIT,
    BoxLayout,
    find_layout,
)
from darkconv.core.bounds import require_share
from darkconv.core.net import check_resize
from darkconv.errors import DarkconvError

OPSET = 13  # the oldest in which Softmax works along one axis; every runtime in use reads it
OLDEST_OPSET = 11
AXES = ("batch", "size")
NO_AXES = "none"
UNITS = {RELATIVE: "relative", PIXELS: "in pixels"}


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """Options of `to_onnx`.

    Attributes:
        head: kind of outputs. "raw": the network's outputs as the C program activates them, each
            under its layer's label, `082_yolo`; for a classifier that ends in [softmax], its
            probabilities.
            "boxes": `boxes` (N, boxes, 4), x0 y0 x1 y1, and `scores` (N, boxes, classes) of all
            heads, before any threshold, in the C program's order, and `confidences` where these
            are not what C reports (`darkconv.layers.box_heads.box_outputs`); for a classifier
            `probabilities`.
            "nms": after plain NMS per class, best first and padded with zeros to
            `max_detections`: `boxes` (N, m, 4), `scores` (N, m), `classes` (N, m) int32, -1 in
            the padding, and `count` (N,) int32.
            "logits": the input of each head, before any activation, `082_yolo_logits`.
        layout: form of the outputs of "boxes" and "nms" for the programs that read them: see
            `darkconv.backends.layouts`. The outputs described above are those of "split".
        pixels: boxes in pixels of the network input instead of 0..1 of it; only for layouts that
            allow both.
        threshold: score that a detection must exceed, 0..1.
        nms: IoU above which two boxes of a class are the same object, 0..1; 0 keeps all boxes.
        threshold_inputs: make these two values inputs of the graph, `score_threshold` (1,) and
            `iou_threshold` (1,), instead of constants.
        max_detections: most detections of a picture, m.
        nms_op: operators that do NMS: "onnx", ONNX's own, or "tensorrt", TensorRT's plugin
            EfficientNMS_TRT, which runs in TensorRT alone.
        input: kind of input. "float32-nchw": RGB in 0..1, (N, C, H, W), or (N, inputs) where the
            network takes no pictures. "float32-nhwc": the same as (N, H, W, C). "uint8-nhwc": RGB
            levels 0..255, (N, H, W, C). "uint8-nhwc-bgr": BGR or BGRA levels, as OpenCV reads them.
        dynamic: free axes of the input: "batch", "size" (height and width), "batch,size" or "none",
            or several of these words. A batch that is not free is 1, and a size that is not free is
            the cfg's.
        fold: fold batch norm into weights and biases, in float64 and with the dialect's epsilon;
            otherwise it stays a node of its own.
        opset: version of the standard operators, 11 or later.
        fp16: store weights and compute in half precision. Inputs and outputs stay float32, and so
            do heads, decoding, NMS, and the first convolutions of a large network.
        resize: how pictures are fitted to the network's input, "stretch" or "letterbox". It is
            written to the metadata, which `darkconv detect` and `eval` follow. None means what the
            dialect and `letter_box=` say.
    """

    head: str = "raw"
    layout: str = SPLIT
    pixels: bool = False
    threshold: float = 0.25
    nms: float = 0.45
    threshold_inputs: bool = False
    max_detections: int = 300
    nms_op: str = NMS_OPS[0]
    input: str = "float32-nchw"
    dynamic: str | Iterable[str] = ("batch",)
    fold: bool = True
    opset: int = OPSET
    fp16: bool = False
    resize: str | None = None

    def __post_init__(self) -> None:
        """Check types, and the options that have few possible values."""
        check_fields(self)
        _check("head", self.head, HEADS)
        _check("input", self.input, INPUTS)
        _check_axes(self.axis_words)
        if self.resize is not None:
            check_resize(self.resize)
        _check_opset(self.opset)
        if self.max_detections < 1:
            raise DarkconvError("max_detections", expected="1 or more", found=self.max_detections)
        for name in ("threshold", "nms"):
            require_share(name, getattr(self, name))
        defaults = {field.name: field.default for field in fields(self)}
        for name, heads in HEADS_OF.items():
            if self.head not in heads and getattr(self, name) != defaults[name]:
                raise DarkconvError(
                    f"{name} would do nothing",
                    expected=f"head {' or '.join(heads)}",
                    found=self.head,
                )
        self._check_layout(self.form)

    def _check_layout(self, form: BoxLayout | None) -> None:
        """Check that the layout supports the other options."""
        if form is None:
            return
        if self.pixels and form.unit:
            open_ones = [one.name for one in LAYOUTS if one.head == self.head and not one.unit]
            raise DarkconvError(
                "pixels would do nothing",
                expected=f"layout {' or '.join(open_ones)}",
                found=f"{form.name}, whose boxes are always {UNITS[form.unit]}",
            )
        _check("nms_op", self.nms_op, NMS_OPS)
        if self.nms_op not in form.nms_ops:
            able = [one.name for one in LAYOUTS if self.nms_op in one.nms_ops]
            raise DarkconvError(
                f"nms_op {self.nms_op}",
                expected=f"layout {' or '.join(able)}",
                found=form.name,
            )
        if self.nms_op != NMS_OPS[0] and self.threshold_inputs:
            raise DarkconvError(
                f"nms_op {self.nms_op} has its thresholds as constants, so threshold_inputs and it "
                "exclude each other"
            )

    @cached_property
    def form(self) -> BoxLayout | None:
        """Return the layout of the boxes; None where the outputs are not boxes."""
        if self.head not in HEADS_OF["layout"]:
            return None
        return find_layout(self.head, self.layout)

    @property
    def box_form(self) -> str:
        """Return the form of the boxes, `CORNERS` or `CENTRES`."""
        return self.form.box_form if self.form else CORNERS

    @property
    def unit(self) -> str:
        """Return the unit of the boxes, `RELATIVE` or `PIXELS`."""
        return self.form.unit_of(pixels=self.pixels) if self.form else RELATIVE

    @cached_property
    def axis_words(self) -> tuple[str, ...]:
        """Return the single words of `dynamic`."""
        texts = [self.dynamic] if isinstance(self.dynamic, str) else self.dynamic
        words = (word.strip() for text in texts for word in str(text).split(","))
        return tuple(word for word in words if word)

    @property
    def has_free_batch(self) -> bool:
        """Return True if the graph takes any number of pictures at once."""
        return "batch" in self.axis_words

    @property
    def has_free_size(self) -> bool:
        """Return True if the graph takes pictures of other sizes than the cfg's."""
        return "size" in self.axis_words

    @property
    def takes_levels(self) -> bool:
        """Return True if the input is 8-bit levels."""
        return self.input.startswith("uint8")

    @property
    def has_channels_last(self) -> bool:
        """Return True if the input is NHWC."""
        return "nhwc" in self.input

    @property
    def is_bgr(self) -> bool:
        """Return True if the channels of the input are in the order blue, green, red."""
        return self.input.endswith("bgr")


def _check(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise DarkconvError(what, expected=", ".join(known), found=found)


def _check_axes(words: tuple[str, ...]) -> None:
    for word in words:
        _check("dynamic", word, (*AXES, NO_AXES))
    if NO_AXES in words and len(words) > 1:
        raise DarkconvError("dynamic", expected="none by itself", found=",".join(words))


def _check_opset(found: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    if found < OLDEST_OPSET:
        raise DarkconvError("opset", expected=f"{OLDEST_OPSET} or later", found=found)
    if found > newest:
        raise DarkconvError(
            "opset", expected=f"{newest} or earlier, which this onnx package knows", found=found
        )
