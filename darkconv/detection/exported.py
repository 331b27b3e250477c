"""detect_exported: as `detect`, with an ONNX file that darkconv has written.

The file says by itself what it takes and gives, so nothing else is needed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.detection.decode import Candidates, box_heads, input_size, passing
from darkconv.detection.detect import (
    Detection,
    as_corners,
    detections,
    fitted_picture,
    named,
    remaining,
)
from darkconv.detection.picture import Fit
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike

if TYPE_CHECKING:
    from darkconv.backends.onnx import OnnxFile

SAME = 1e-6  # thresholds closer than this are the same


def detect_exported(
    file: "OnnxFile",
    image: PathLike | npt.ArrayLike,
    threshold: float | None = None,
    nms: float | None = None,
    *,
    resize: str | None = None,
    nms_kind: str | None = None,
) -> list[Detection]:
    """Find objects in a picture with an exported file.

    Args:
        file: of `darkconv.backends.onnx.read_onnx`.
        image: a file, or RGB levels (H, W, 3) of 8 bit.
        threshold: as for `detect`; by default the file's.
        nms: as for `detect`; by default the file's.
        resize: as for `detect`.
        nms_kind: as for `detect`; a file with suppression in the graph has one kind.

    Raises:
        DarkconvError: the network predicts no boxes, or the file cannot do what is asked for.
    """
    box_heads(file.network)
    picture, fit = fitted_picture(file.network, image, resize)
    x, _ = as_input(file, fit.apply(picture))
    asked = Asked(file, threshold, nms, nms_kind)
    return FINDERS[file.head](file, x, fit, asked)


class Asked:
    """What the user asks for, the file's own settings where nothing is said.

    Attributes:
        threshold: least score.
        nms: overlap that counts as the same.
        nms_kind: None for the cfg's.
    """

    def __init__(
        self, file: "OnnxFile", threshold: float | None, nms: float | None, nms_kind: str | None
    ) -> None:
        least, overlap = graph_thresholds(file)
        self.threshold = least if threshold is None else threshold
        self.nms = overlap if nms is None else nms
        self.nms_kind = nms_kind


def graph_thresholds(file: "OnnxFile") -> tuple[float, float]:
    """Score and overlap that a file was made with."""
    return float(file.metadata["threshold"]), float(file.metadata["nms"])


def as_input(file: "OnnxFile", planes: Array) -> tuple[npt.NDArray[Any], Array]:
    """A network input as the graph takes it, and what the graph makes of it.

    Args:
        file: where it takes levels, the input is rounded to them.
        planes: (C, H, W) in 0..1, or (inputs,).
    """
    kind = file.metadata["input"]
    if not kind.startswith("uint8"):
        return planes[None], planes
    levels = np.rint(planes * 255).clip(0, 255).astype(np.uint8)
    pixels = levels.transpose(1, 2, 0)
    given = pixels[..., ::-1] if kind.endswith("bgr") else pixels
    return np.ascontiguousarray(given)[None], levels.astype(np.float32) / np.float32(255)


def find_in_raw(file: "OnnxFile", x: npt.NDArray[Any], fit: Fit, asked: Asked) -> list[Detection]:
    """Decode the heads as those of a model."""
    outputs = [value[0] for value in file.run(x)]
    return detections(
        file, outputs, fit, threshold=asked.threshold, nms=asked.nms, nms_kind=asked.nms_kind
    )


def find_in_boxes(file: "OnnxFile", x: npt.NDArray[Any], fit: Fit, asked: Asked) -> list[Detection]:
    """Suppress boxes as the cfg, or the user, wants it."""
    if asked.nms_kind == "obj":
        raise DarkconvError(
            "boxes have lost their objectness, which nms_kind=obj goes by",
            where=Where(file=file.path),
            hint="convert with --head raw",
        )
    boxes, scores = (value[0] for value in file.run(x))
    found = Candidates(
        relative_boxes(file, boxes),
        np.ones(len(boxes), np.float32),
        passing(scores, asked.threshold),
    )
    return remaining(file, found, fit, nms=asked.nms, nms_kind=asked.nms_kind)


def find_in_detections(
    file: "OnnxFile", x: npt.NDArray[Any], fit: Fit, asked: Asked
) -> list[Detection]:
    """Take what suppression in the graph has left."""
    check_constants(file, asked)
    inputs = file.threshold_inputs(asked.threshold, asked.nms)
    boxes, scores, classes, count = (value[0] for value in file.run(x, **inputs))
    is_wanted = (np.arange(len(scores)) < count) & (scores > np.float32(asked.threshold))
    corners = as_corners(fit.to_pixels(relative_boxes(file, boxes[is_wanted])))
    return named(file, classes[is_wanted], scores[is_wanted], corners)


def check_constants(file: "OnnxFile", asked: Asked) -> None:
    """Check that a graph with suppression in it can do what is asked for.

    Raises:
        DarkconvError: another kind, or other thresholds where they are constants.
    """
    where = Where(file=file.path)
    if asked.nms_kind not in (None, "sort"):
        raise DarkconvError(
            "nms_kind", where=where, expected="sort, which is in the graph", found=asked.nms_kind
        )
    if file.has_threshold_inputs:
        return
    least, overlap = graph_thresholds(file)
    hint = "convert with --threshold-inputs, or with --head boxes"
    if asked.threshold < least - SAME:
        raise DarkconvError(
            "threshold",
            where=where,
            expected=f"at least {least}, a constant of the graph",
            found=asked.threshold,
            hint=hint,
        )
    if abs(asked.nms - overlap) > SAME:
        raise DarkconvError(
            "nms",
            where=where,
            expected=f"{overlap}, a constant of the graph",
            found=asked.nms,
            hint=hint,
        )


def relative_boxes(file: "OnnxFile", corners: Array) -> Array:
    """Corners as the graph gives them -> xywh relative to the network input."""
    low, high = corners[:, :2], corners[:, 2:]
    boxes = np.hstack([(low + high) / 2, high - low])
    if file.metadata["boxes"] == "pixels":
        boxes /= np.tile(input_size(file.network), 2)
    return boxes


Finder = Callable[["OnnxFile", npt.NDArray[Any], Fit, Asked], list[Detection]]
FINDERS: dict[str, Finder] = {
    "raw": find_in_raw,
    "boxes": find_in_boxes,
    "nms": find_in_detections,
}
"""By the kind of the file's outputs."""
