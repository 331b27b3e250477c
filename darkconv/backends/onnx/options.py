"""What can be chosen about an ONNX file."""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from darkconv.errors import DarkconvError

OPSET = 13  # the oldest in which Softmax means one axis; every runtime in use reads it
OLDEST_OPSET = 11
HEADS = ("raw", "boxes", "nms")
INPUTS = ("float32-nchw", "uint8-nhwc", "uint8-nhwc-bgr")
AXES = ("batch", "size")


@dataclass(frozen=True, kw_only=True)
class OnnxOptions:
    """What `to_onnx` builds.

    Attributes:
        head: "raw": the network's outputs as the C program activates them, each under its
            layer's name, `082_yolo`; of a classifier that ends in [softmax] its probabilities.
            "boxes": `boxes` (N, boxes, 4), x0 y0 x1 y1, and `scores` (N, boxes, classes) of all
            heads, before any threshold, in the C program's order; of a classifier
            `probabilities`.
            "nms": after plain suppression per class, best first and padded with zeros to
            `max_detections`: `boxes` (N, m, 4), `scores` (N, m), `classes` (N, m) int32, -1 in
            the padding, and `count` (N,) int32.
        pixels: boxes in pixels of the network input, in place of 0..1 of it.
        threshold: score that a detection must exceed.
        nms: overlap above which two boxes of a class are the same object; 0 keeps them all.
        threshold_inputs: make these two inputs of the graph, `score_threshold` (1,) and
            `iou_threshold` (1,), in place of constants.
        max_detections: most detections of a picture.
        input: "float32-nchw": RGB in 0..1, (N, C, H, W), or (N, inputs) where the network has
            no pictures. "uint8-nhwc": RGB levels, (N, H, W, C). "uint8-nhwc-bgr": BGR levels,
            as OpenCV reads them.
        dynamic: which axes of the input are free: "batch", "size" (height and width), both
            (also as one text, "batch,size") or none. What is not free is 1 and the cfg's size.
        fold: write batch norm into weights and biases, in double precision and with the
            dialect's divisor; otherwise it stays a node of its own.
        opset: version of the standard operators, 11 or later.
        fp16: weights and computing in half precision. Inputs and outputs stay float32, and so do
            heads, decoding, suppression, and the first convolutions of a large network.
    """

    head: str = "raw"
    pixels: bool = False
    threshold: float = 0.25
    nms: float = 0.45
    threshold_inputs: bool = False
    max_detections: int = 300
    input: str = "float32-nchw"
    dynamic: str | Iterable[str] = ("batch",)
    fold: bool = True
    opset: int = OPSET
    fp16: bool = False

    def __post_init__(self) -> None:
        """Check what has few legal values."""
        _check("head", self.head, HEADS)
        _check("input", self.input, INPUTS)
        for name in self.free_axes:
            _check("dynamic", name, AXES)
        _check_opset(self.opset)
        if self.max_detections < 1:
            raise DarkconvError("max_detections", expected="1 or more", found=self.max_detections)
        for name in ("threshold", "nms"):
            if not 0 <= getattr(self, name) <= 1:
                raise DarkconvError(name, expected="0 to 1", found=getattr(self, name))

    @property
    def free_axes(self) -> tuple[str, ...]:
        """`dynamic`, its names apart."""
        names = self.dynamic.split(",") if isinstance(self.dynamic, str) else self.dynamic
        return tuple(name.strip() for name in names if name.strip())

    @property
    def has_free_batch(self) -> bool:
        """Whether any number of pictures may come at once."""
        return "batch" in self.free_axes

    @property
    def has_free_size(self) -> bool:
        """Whether pictures of other sizes than the cfg's may come."""
        return "size" in self.free_axes

    @property
    def takes_levels(self) -> bool:
        """Whether the input is 8-bit levels."""
        return self.input.startswith("uint8")


def _check(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise DarkconvError(what, expected=", ".join(known), found=found)


def _check_opset(found: int) -> None:
    newest = onnx.defs.onnx_opset_version()
    if found < OLDEST_OPSET:
        raise DarkconvError("opset", expected=f"{OLDEST_OPSET} or later", found=found)
    if found > newest:
        raise DarkconvError(
            "opset", expected=f"{newest} or earlier, which this onnx package knows", found=found
        )
