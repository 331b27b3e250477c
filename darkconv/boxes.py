"""Convert boxes between their two forms, and measure how much two boxes overlap.

The forms are xyxy, the corners (left, top, right, bottom), and xywh, the centre with width and
height. The unit is the caller's: pixels, or shares of a picture or of the network input.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Float32s = npt.NDArray[np.float32]
Box = tuple[float, float, float, float]


def as_corners(boxes: Float32s) -> Float32s:
    """Convert boxes (..., 4) from xywh to xyxy.

    Example:
        >>> as_corners(np.array([[5, 5, 4, 2]], np.float32)).tolist()
        [[3.0, 4.0, 7.0, 6.0]]

    Args:
        boxes: float32, xywh.
    """
    half = boxes[..., 2:] / 2
    return np.concatenate([boxes[..., :2] - half, boxes[..., :2] + half], axis=-1)


def as_centres(corners: Float32s) -> Float32s:
    """Convert boxes (..., 4) from xyxy to xywh.

    A box that is infinitely wide has no centre: it gets 0.5, the centre of a relative box.

    Example:
        >>> as_centres(np.array([[3, 4, 7, 6]], np.float32)).tolist()
        [[5.0, 5.0, 4.0, 2.0]]

    Args:
        corners: float32, xyxy.
    """
    low, high = corners[..., :2], corners[..., 2:]
    with np.errstate(over="ignore", invalid="ignore"):  # boxes of untrained networks overflow
        middle = np.where(np.isinf(low) & np.isinf(high), np.float32(0.5), (low + high) / 2)
        return np.concatenate([middle, high - low], axis=-1)


def iou(box: Floats, others: Floats, *, whole_pixels: bool = False) -> npt.NDArray[np.float64]:
    """Return the intersection over union (IoU) of boxes, all xyxy, in double precision.

    Args:
        box: (4,), or (m, 1, 4) for all pairs.
        others: (k, 4).
        whole_pixels: True if the last row and column of pixels belong to a box, which is the rule
            of the VOC development kit.

    Returns:
        (k,) or (m, k), 0..1; 0 where neither box has an area.

    Example:
        >>> iou(np.array([0, 0, 2, 2]), np.array([[1, 0, 3, 2]])).round(3).tolist()
        [0.333]
    """
    box, others = box.astype(np.float64), others.astype(np.float64)
    last = 1.0 if whole_pixels else 0.0
    sides = np.minimum(box[..., 2:], others[..., 2:]) - np.maximum(box[..., :2], others[..., :2])
    shared = (sides + last).clip(min=0).prod(axis=-1)
    areas = (others[..., 2:] - others[..., :2] + last).prod(axis=-1)
    union = (box[..., 2:] - box[..., :2] + last).prod(axis=-1) + areas - shared
    share: npt.NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=share, where=union > 0)
    return share


def centred_iou(box: Float32s, others: Float32s) -> Float32s:
    """Return the intersection over union (IoU) of boxes, all xywh, in the C programs' arithmetic.

    They compute in single precision from centres and sides, which matters near a threshold.

    Args:
        box: (..., 4).
        others: (k, 4).

    Returns:
        (..., k), 0..1; 0 where boxes do not meet.

    Example:
        >>> one = np.array([1, 1, 2, 2], np.float32)
        >>> centred_iou(one, np.array([[2, 1, 2, 2]], np.float32)).round(3).tolist()
        [0.3330000042915344]
    """
    width, height = (_meeting_side(box, others, axis) for axis in (0, 1))
    meeting = np.where((width > 0) & (height > 0), width * height, np.float32(0))
    union = box[..., 2] * box[..., 3] + others[:, 2] * others[:, 3] - meeting
    share: Float32s = np.divide(meeting, union, out=np.zeros_like(meeting), where=meeting > 0)
    return share


def _meeting_side(box: Float32s, others: Float32s, axis: int) -> Float32s:
    """Return the length of the intersection along an axis; it is negative where there is none."""
    half, halves = box[..., axis + 2] / 2, others[:, axis + 2] / 2
    high: Float32s = np.minimum(box[..., axis] + half, others[:, axis] + halves)
    return high - np.maximum(box[..., axis] - half, others[:, axis] - halves)


def corners_of(x: float, y: float, width: float, height: float) -> Box:
    """Convert one box from xywh to xyxy.

    Example:
        >>> corners_of(5, 5, 4, 2)
        (3.0, 4.0, 7.0, 6.0)

    Args:
        x: horizontal centre.
        y: vertical centre.
        width: width, in the unit of the centre.
        height: height, in the unit of the centre.
    """
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def centre_of(x0: float, y0: float, x1: float, y1: float) -> Box:
    """Convert one box from xyxy to xywh.

    Example:
        >>> centre_of(3, 4, 7, 6)
        (5.0, 5.0, 4, 2)

    Args:
        x0: left edge.
        y0: top edge.
        x1: right edge.
        y1: bottom edge.
    """
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
