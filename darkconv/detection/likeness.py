"""How near an ONNX file in half precision or 8 bits comes to its float32 form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.detection.detect import Detection
from darkconv.detection.detector import Detector
from darkconv.detection.suppress import iou
from darkconv.files import PathLike

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

THRESHOLD = 0.25  # score from which detections are compared
LIKE = 0.5  # overlap of boxes that are the same object


@dataclass(frozen=True)
class Likeness:
    """What two files have in common.

    Attributes:
        errors: relative L2 error of each output over all inputs; without detections, which have
            no places that could be compared.
        f1: twice the number of detections that both find, over the number of all; None where
            there are none to compare.
        inputs: how many they ran on.
    """

    errors: Mapping[str, float]
    f1: float | None
    inputs: int


class Differences:
    """Squares of differences and of values, summed over inputs."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._off = np.zeros(len(names))
        self._whole = np.zeros(len(names))
        self.count = 0

    def add(self, whole: Sequence[Array], other: Sequence[Array]) -> None:
        """Count the outputs for one input."""
        self.count += 1
        for place, (right, found) in enumerate(zip(whole, other, strict=True)):
            self._off[place] += _square(found.astype(np.float64) - right)
            self._whole[place] += _square(right.astype(np.float64))

    def relative(self) -> dict[str, float]:
        """Relative L2 error of each output."""
        return {
            name: float(np.sqrt(off / (whole or 1.0)))
            for name, off, whole in zip(self._names, self._off, self._whole, strict=True)
        }


def _square(values: npt.NDArray[np.float64]) -> float:
    return float(values.ravel() @ values.ravel())


def likeness_on_inputs(
    whole: "ExportedFile", other: "ExportedFile", inputs: Iterable[npt.NDArray[Any]]
) -> Likeness:
    """Compare outputs alone.

    Args:
        whole: the float32 form.
        other: of the same outputs.
        inputs: as both take them, (1, ...) each.
    """
    differences = Differences(whole.run.outputs)
    for x in inputs:
        differences.add(whole.run(x), other.run(x))
    errors = {} if whole.head == "nms" else differences.relative()
    return Likeness(errors, None, differences.count)


def likeness_on_pictures(
    whole: Detector, other: Detector, names: Sequence[str], pictures: Iterable[PathLike]
) -> Likeness:
    """Compare outputs and detections.

    Args:
        whole: the float32 form.
        other: of the same outputs.
        names: of the outputs whose values are compared; none, where these are detections.
        pictures: files.
    """
    differences = Differences(names)
    both = total = 0
    for picture in pictures:
        x, fit = whole.prepare(picture)
        right, found = whole.run(x), other.run(x)
        differences.add(right[: len(names)], found[: len(names)])
        one, two = whole.find(right, fit), other.find(found, fit)
        both += len(common(one, two))
        total += len(one) + len(two)
    return Likeness(differences.relative(), 2 * both / total if total else None, differences.count)


def common(expected: Sequence[Detection], found: Sequence[Detection]) -> list[tuple[int, int]]:
    """Places of detections that are of the same class and object, each taken once, best first."""
    left = set(range(len(expected)))
    pairs = []
    for place, detection in enumerate(found):
        like = [i for i in sorted(left) if expected[i].class_id == detection.class_id]
        overlaps = iou(
            _xywh(detection), np.array([_xywh(expected[i]) for i in like]).reshape(-1, 4)
        )
        if overlaps.max(initial=0) >= LIKE:
            best = like[int(overlaps.argmax())]
            left.remove(best)
            pairs.append((best, place))
    return pairs


def _xywh(detection: Detection) -> Array:
    x0, y0, x1, y1 = detection.box
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], np.float32)
