"""From a picture to boxes: fitting, decoding, non-maximum suppression, drawing."""

from darkconv.detection.detect import Detection, detect

__all__ = ["Detection", "detect"]
