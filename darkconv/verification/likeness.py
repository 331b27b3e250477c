"""How near an ONNX file in half precision or 8 bits comes to its float32 form."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.backends.layouts import BEST, CENTRES, CORNERS, LABEL, SCORES
from darkconv.core.model import Array
from darkconv.detection.detect import Detection
from darkconv.detection.sources import Item, picture_name
from darkconv.detection.stream import prepare_item, read_batches
from darkconv.files import PathLike
from darkconv.verification.outputs import Run, before
from darkconv.verification.pairing import pair_off

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.detection.exported import FileEngine

THRESHOLD = 0.25  # score from which detections are compared


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

    def __init__(self) -> None:
        self._off: defaultdict[str, float] = defaultdict(float)
        self._whole: defaultdict[str, float] = defaultdict(float)
        self.count = 0
        self.compared = 0

    def add(self, whole: Mapping[str, Array], other: Mapping[str, Array]) -> None:
        """Count the values for one input, by their names."""
        self.count += 1
        for name, right in whole.items():
            found = other[name]
            with np.errstate(invalid="ignore"):
                self._off[name] += _square(found.astype(np.float64) - right)
                self._whole[name] += _square(right.astype(np.float64))
            self.compared += int(np.count_nonzero(np.isfinite(found) & np.isfinite(right)))

    def relative(self) -> dict[str, float]:
        """Relative L2 error of each output; infinite where a value is NaN or infinite."""
        return {
            name: float(np.sqrt(off / (self._whole[name] or 1.0)))
            if np.isfinite(off + self._whole[name])
            else float("inf")
            for name, off in self._off.items()
        }


NAMES = {CORNERS: "boxes", CENTRES: "boxes", BEST: SCORES}
"""What parts of outputs are called, where their own names say their form."""


def placed_values(
    file: "ExportedFile", outputs: Sequence[npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return those values of a picture's outputs, by name, that two files have in the same places.

    Detections have none, and classes are no numbers that could be near each other.
    """
    if file.head == "nms":
        return {}
    parts = file.taken_apart(outputs)
    return {NAMES.get(name, name): parts[name] for name in parts if name != LABEL}


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
    before_it = ("boxes before suppression", "scores before suppression")
    is_cut = whole.head == "nms"
    one: Run = whole.run
    two: Run = other.run
    if is_cut:
        one, two = (before(file, spoke("onnx").SuppressionProbe(file)) for file in (whole, other))
    differences = Differences()
    for x in inputs:
        right, found = ([value[0] for value in run(x)] for run in (one, two))
        if is_cut:
            sides = [dict(zip(before_it, side, strict=True)) for side in (right, found)]
        else:
            sides = [placed_values(whole, right), placed_values(other, found)]
        differences.add(*sides)
    return Likeness(differences.relative(), None, differences.count, differences.compared)


def likeness_on_pictures(
    whole: "FileEngine", other: "FileEngine", pictures: Iterable[PathLike]
) -> Likeness:
    """Compare outputs and detections.

    Args:
        whole: the float32 form.
        other: of the same outputs.
        pictures: files.
    """
    differences = Differences()
    pairs = []
    items = (Item(one, picture_name(one), place) for place, one in enumerate(pictures))
    for ((_, ready),) in read_batches(functools.partial(prepare_item, whole), items):
        right, found = ([value[0] for value in one.run(ready.x)] for one in (whole, other))
        differences.add(*map(placed_values, (whole.file, other.file), (right, found)))
        pairs.append((whole.find(right, ready.fit), other.find(found, ready.fit)))
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
    sides: list[Any] = []
    for side in (found, expected):
        sides.append(np.array([one.box for one in side]).reshape(-1, 4))
        sides.append(np.array([one.class_id for one in side], int))
    return [(right, place) for place, right in pair_off(*sides)]
