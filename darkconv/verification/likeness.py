"""How near an ONNX file in half precision or 8 bits comes to its float32 form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.boxes import iou
from darkconv.core.model import Array
from darkconv.detection.detect import Detection
from darkconv.detection.engine import Engine
from darkconv.files import PathLike
from darkconv.verification.outputs import Run, before

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

THRESHOLD = 0.25  # score from which detections are compared
LIKE = 0.5  # overlap of boxes that are the same object


@dataclass(frozen=True)
class Likeness:
    """What two files have in common.

    Attributes:
        errors: relative L2 error of each output over all inputs; infinite where a value is no
            finite number. Without detections, which have no places that could be compared.
        f1: twice the number of detections that both find, over the number of all; None where
            there are none to compare.
        inputs: how many they ran on.
        compared: values and detections of both that were compared.
    """

    errors: Mapping[str, float]
    f1: float | None
    inputs: int
    compared: int

    @property
    def fault(self) -> str:
        """Why the file is not to be trusted: nothing where it is."""
        if not self.compared:
            return "there was nothing to compare"
        broken = [name for name, error in self.errors.items() if not np.isfinite(error)]
        return f"{', '.join(broken)}: values that are NaN or infinite" if broken else ""


class Differences:
    """Squares of differences and of values, summed over inputs."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._off = np.zeros(len(names))
        self._whole = np.zeros(len(names))
        self.count = 0
        self.compared = 0

    def add(self, whole: Sequence[Array], other: Sequence[Array]) -> None:
        """Count the outputs for one input."""
        self.count += 1
        for place, (right, found) in enumerate(zip(whole, other, strict=True)):
            with np.errstate(invalid="ignore"):
                self._off[place] += _square(found.astype(np.float64) - right)
                self._whole[place] += _square(right.astype(np.float64))
            self.compared += int(np.count_nonzero(np.isfinite(found) & np.isfinite(right)))

    def relative(self) -> dict[str, float]:
        """Relative L2 error of each output; infinite where a value is NaN or infinite."""
        return {
            name: float(np.sqrt(off / (whole or 1.0))) if np.isfinite(off + whole) else float("inf")
            for name, off, whole in zip(self._names, self._off, self._whole, strict=True)
        }


def _square(values: npt.NDArray[np.float64]) -> float:
    return float(values.ravel() @ values.ravel())


def likeness_on_inputs(
    whole: "ExportedFile", other: "ExportedFile", inputs: Iterable[npt.NDArray[Any]]
) -> Likeness:
    """Compare outputs alone; of files with suppression in the graph what enters it.

    Args:
        whole: the float32 form.
        other: of the same outputs.
        inputs: as both take them, (1, ...) each.
    """
    names = whole.run.outputs
    one: Run = whole.run
    two: Run = other.run
    if whole.head == "nms":
        names = ["boxes before suppression", "scores before suppression"]
        one, two = (before(file, spoke("onnx").SuppressionProbe(file)) for file in (whole, other))
    differences = Differences(names)
    for x in inputs:
        differences.add(one(x), two(x))
    return Likeness(differences.relative(), None, differences.count, differences.compared)


def likeness_on_pictures(
    whole: Engine, other: Engine, names: Sequence[str], pictures: Iterable[PathLike]
) -> Likeness:
    """Compare outputs and detections.

    Args:
        whole: the float32 form.
        other: of the same outputs.
        names: of the outputs whose values are compared; none, where these are detections.
        pictures: files.
    """
    differences = Differences(names)
    pairs = []
    for picture in pictures:
        x, fit = whole.prepare(picture)
        right, found = ([value[0] for value in one.run(x)] for one in (whole, other))
        differences.add(right[: len(names)], found[: len(names)])
        pairs.append((whole.find(right, fit), other.find(found, fit)))
    compared = differences.compared + sum(len(one) + len(two) for one, two in pairs)
    return Likeness(differences.relative(), f1_of(pairs), differences.count, compared)


def f1_of(pairs: Iterable[tuple[Sequence[Detection], Sequence[Detection]]]) -> float | None:
    """Return twice the number of detections that both have, over the number of all.

    Args:
        pairs: the detections of both, picture by picture.

    Returns: 0..1; None where there are none.
    """
    both = total = 0
    for one, two in pairs:
        both += len(common(one, two))
        total += len(one) + len(two)
    return 2 * both / total if total else None


def common(expected: Sequence[Detection], found: Sequence[Detection]) -> list[tuple[int, int]]:
    """Places of detections that are of the same class and object, each taken once, best first."""
    left = set(range(len(expected)))
    pairs = []
    for place, detection in enumerate(found):
        like = [i for i in sorted(left) if expected[i].class_id == detection.class_id]
        boxes = np.array([expected[i].box for i in like]).reshape(-1, 4)
        overlaps = iou(np.array(detection.box), boxes)
        if overlaps.max(initial=0) >= LIKE:
            best = like[int(overlaps.argmax())]
            left.remove(best)
            pairs.append((best, place))
    return pairs
