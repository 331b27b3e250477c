"""What can be chosen about exported files, known without importing a framework."""

from collections.abc import Mapping

HEADS = ("raw", "boxes", "nms", "logits")
HEADS_OF: Mapping[str, tuple[str, ...]] = {
    "pixels": ("boxes", "nms"),
    "threshold_inputs": ("nms",),
    "max_detections": ("nms",),
}
"""With which of the heads an option acts; others act with all of them."""
