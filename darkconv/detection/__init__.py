"""From pictures to boxes: reading, fitting, decoding, non-maximum suppression, drawing."""

from darkconv.detection.detect import Detection
from darkconv.detection.detector import Detector, detect
from darkconv.detection.found import Detections
from darkconv.detection.stream import Frame

__all__ = ["Detection", "Detections", "Detector", "Frame", "detect"]
