"""What can be chosen about exported files, known without importing a framework."""

from collections.abc import Mapping

HEADS = ("raw", "boxes", "nms", "logits")
INPUTS = ("float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr")
BGR: Mapping[int, tuple[int, ...]] = {3: (2, 1, 0), 4: (2, 1, 0, 3)}
"""Places of red, green and blue, and of a fourth channel, by the number of channels."""
HEADS_OF: Mapping[str, tuple[str, ...]] = {
    "layout": ("boxes", "nms"),
    "nms_op": ("nms",),
    "pixels": ("boxes", "nms"),
    "threshold_inputs": ("nms",),
    "max_detections": ("nms",),
}
"""With which of the heads an option acts; others act with all of them."""
