"""Finding objects with a file that darkconv has written, as `detect` does with a model.

The file says by itself what it takes and gives, so nothing else is needed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.boxes import as_centres, as_corners
from darkconv.core.model import Array
from darkconv.detection.decode import Candidates, box_heads, input_size
from darkconv.detection.detect import (
    Detection,
    check_thresholds,
    detections,
    fitted_picture,
    named,
    remaining,
    shown,
)
from darkconv.detection.picture import Fit, PictureLike
from darkconv.errors import DarkconvError, Where
from darkconv.layers.box_heads import BOXES, CONFIDENCES, SCORES, box_outputs

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

SAME = 1e-6  # thresholds closer than this are the same


def detect_exported(
    file: "ExportedFile",
    image: PictureLike,
    threshold: float | None = None,
    nms: float | None = None,
    *,
    resize: str | None = None,
    nms_kind: str | None = None,
    exact: bool = True,
) -> list[Detection]:
    """Find objects in a picture with an exported file.

    Args:
        file: of `read_onnx`, `read_keras_file` or `read_litert`.
        image: a file, or RGB levels (H, W, 3) of 8 bit.
        threshold: as for `detect`; by default the file's.
        nms: as for `detect`; by default the file's.
        resize: as for `detect`; by default the file's.
        nms_kind: as for `detect`; a file with suppression in the graph has one kind.
        exact: as for `detect`.

    Raises:
        DarkconvError: the network predicts no boxes, or the file cannot do what is asked for.
    """
    detector = FileDetector(file, threshold, nms, resize=resize, nms_kind=nms_kind, exact=exact)
    x, fit = detector.prepare(image)
    return shown(file, detector.find(detector.run(x), fit))


class FileDetector:
    """A `Detector` of a file; its own settings hold where nothing is said.

    Attributes:
        file: that is run.
        threshold: least score.
        nms: overlap that counts as the same.
        nms_kind: None for the cfg's.
        relative: see `darkconv.detection.detect.remaining`.
    """

    def __init__(
        self,
        file: "ExportedFile",
        threshold: float | None = None,
        nms: float | None = None,
        *,
        resize: str | None = None,
        nms_kind: str | None = None,
        relative: bool = False,
        exact: bool = True,
    ) -> None:
        """Take the options of `detect_exported`, and raise what it raises."""
        box_heads(file.network)
        least, overlap = graph_thresholds(file)
        self.file = file
        self.threshold = least if threshold is None else threshold
        self.nms = overlap if nms is None else nms
        check_thresholds(self.threshold, self.nms)
        self.nms_kind = nms_kind
        self.relative = relative
        self._resize = resize
        self._exact = exact
        CHECKS[file.head](self)

    @property
    def source(self) -> "ExportedFile":
        """Return the file."""
        return self.file

    def prepare(self, image: PictureLike) -> tuple[npt.NDArray[Any], Fit]:
        """The graph's input, (1, ...), and how the picture was fitted."""
        mode = self._resize or self.file.resize
        picture, fit = fitted_picture(self.file.network, image, mode, exact=self._exact)
        x, _ = as_input(self.file, fit.apply(picture))
        return x, fit

    def run(self, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """The outputs for one picture, without a batch axis."""
        inputs = self.file.threshold_inputs(self.threshold, self.nms)
        return [value[0] for value in self.file.run(x, **inputs)]

    def find(self, outputs: Sequence[npt.NDArray[Any]], fit: Fit) -> list[Detection]:
        """The detections in one picture."""
        return FINDERS[self.file.head](self, outputs, fit)


def graph_thresholds(file: "ExportedFile") -> tuple[float, float]:
    """Score and overlap that a file was made with."""
    return float(file.metadata["threshold"]), float(file.metadata["nms"])


def least_threshold(file: "ExportedFile", wanted: float) -> float:
    """The threshold nearest to one wanted, from above, that a file can do."""
    if file.head != "nms" or file.has_threshold_inputs:
        return wanted
    return max(wanted, graph_thresholds(file)[0])


def as_input(file: "ExportedFile", planes: Array) -> tuple[npt.NDArray[Any], Array]:
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


def find_in_raw(asked: FileDetector, outputs: Sequence[Array], fit: Fit) -> list[Detection]:
    """Decode the heads as those of a model."""
    return detections(
        asked.file,
        outputs,
        fit,
        threshold=asked.threshold,
        nms=asked.nms,
        nms_kind=asked.nms_kind,
        relative=asked.relative,
    )


def find_in_boxes(asked: FileDetector, outputs: Sequence[Array], fit: Fit) -> list[Detection]:
    """Suppress boxes as the cfg, or the user, wants it."""
    values = dict(zip(asked.file.run.outputs, outputs, strict=True))
    boxes, scores = values[BOXES], values[SCORES]
    is_kept = scores > np.float32(asked.threshold)
    found = Candidates(
        relative_boxes(asked.file, boxes),
        np.ones(len(boxes), np.float32),
        np.where(is_kept, values.get(CONFIDENCES, scores), np.float32(0)),
    )
    return remaining(
        asked.file,
        found,
        fit,
        nms=asked.nms,
        nms_kind=asked.nms_kind,
        relative=asked.relative,
    )


def find_in_detections(
    asked: FileDetector, outputs: Sequence[npt.NDArray[Any]], fit: Fit
) -> list[Detection]:
    """Take what suppression in the graph has left."""
    boxes, scores, classes, count = outputs
    is_wanted = (np.arange(len(scores)) < count) & (scores > np.float32(asked.threshold))
    corners = as_corners(fit.to_pixels(relative_boxes(asked.file, boxes[is_wanted])))
    return named(asked.file, classes[is_wanted], scores[is_wanted], corners)


def check_objectness(asked: FileDetector) -> None:
    """Check that boxes alone are enough for what is asked for.

    Raises:
        DarkconvError: suppression goes by objectness.
    """
    if asked.nms_kind == "obj":
        raise DarkconvError(
            "boxes have lost their objectness, which nms_kind=obj goes by",
            where=Where(file=asked.file.path),
            hint="convert with --head raw",
        )


def check_heads(asked: FileDetector) -> None:
    """Refuse what enters heads, for that is no boxes yet.

    Raises:
        DarkconvError: always.
    """
    raise DarkconvError(
        "gives logits, from which no boxes are read",
        where=Where(file=asked.file.path),
        hint="convert with --head raw or --head boxes",
    )


def check_constants(asked: FileDetector) -> None:
    """Check that a graph with suppression in it can do what is asked for.

    Raises:
        DarkconvError: another kind, or other thresholds where they are constants.
    """
    file, where = asked.file, Where(file=asked.file.path)
    if asked.nms_kind not in (None, "sort"):
        raise DarkconvError(
            "nms_kind", where=where, expected="sort, which is in the graph", found=asked.nms_kind
        )
    if file.has_threshold_inputs:
        return
    least, overlap = graph_thresholds(file)
    hint = "convert with --threshold-inputs, or with --head boxes"
    if CONFIDENCES in box_outputs(file.network) and abs(asked.threshold - least) > SAME:
        raise DarkconvError(
            "threshold",
            where=where,
            expected=f"{least}, with which the graph compares objectness",
            found=asked.threshold,
            hint=hint,
        )
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


def relative_boxes(file: "ExportedFile", corners: Array) -> Array:
    """Corners as the graph gives them -> xywh relative to the network input."""
    return as_centres(relative_corners(file, corners))


def relative_corners(file: "ExportedFile", corners: Array) -> Array:
    """Corners as the graph gives them -> relative to the network input."""
    if file.metadata["boxes"] == "pixels":
        return np.divide(corners, np.tile(input_size(file.network), 2), dtype=np.float32)
    return corners


CHECKS: dict[str, Callable[[FileDetector], None]] = {
    "raw": lambda _: None,
    "logits": check_heads,
    "boxes": check_objectness,
    "nms": check_constants,
}
Finder = Callable[[FileDetector, Sequence[npt.NDArray[Any]], Fit], list[Detection]]
FINDERS: dict[str, Finder] = {
    "raw": find_in_raw,
    "boxes": find_in_boxes,
    "nms": find_in_detections,
}
"""By the kind of the file's outputs."""
