"""From pictures to bounding boxes: read, resize, decode, non-maximum suppression (NMS), draw."""

from darkconv.detection.detect import Detection
from darkconv.detection.detector import Detector, detect
from darkconv.detection.found import Detections
from darkconv.detection.stream import Frame

__all__ = ["Detection", "Detections", "Detector", "Frame", "detect"]
