"""Measure how near an ONNX file in half precision or 8 bits comes to its float32 form."""

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
from darkconv.detection.sources import SourcePicture, picture_name
from darkconv.detection.stream import prepare_item, read_batches
from darkconv.files import PathLike
from darkconv.verification.outputs import Run, before
from darkconv.verification.pairing import pair_off

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.detection.exported import FileEngine

THRESHOLD = 0.25  # detections are compared from this score on


@dataclass(frozen=True)
class Likeness:
    """The agreement of two files.

    Attributes:
        errors: relative L2 error of each output over all inputs; infinite where a value is NaN or
            infinite. Lists of detections are not among the outputs: they have no fixed places that
            could be compared.
        f1: twice the number of detections that both files find, divided by the number of all
            detections; None where there are none to compare.
        inputs: number of inputs that both ran on.
        compared: number of values and detections that were compared.
    """

    errors: Mapping[str, float]
    f1: float | None
    inputs: int
    compared: int

    @property
    def fault(self) -> str:
        """Return the reason not to trust the file, or "" where there is none."""
        if not self.compared:
            return "there was nothing to compare"
        broken = [name for name, error in self.errors.items() if not np.isfinite(error)]
        return f"{', '.join(broken)}: values that are NaN or infinite" if broken else ""


class Differences:
    """Sums of squared differences and of squared values over inputs, for each output."""

    def __init__(self) -> None:
        self._off: defaultdict[str, float] = defaultdict(float)
        self._whole: defaultdict[str, float] = defaultdict(float)
        self.count = 0
        self.compared = 0

    def add(self, whole: Mapping[str, Array], other: Mapping[str, Array]) -> None:
        """Add the values of one input.

        Args:
            whole: values of the float32 form, by the name of the output.
            other: values of the other file, by the same names.
        """
        self.count += 1
        for name, right in whole.items():
            found = other[name]
            with np.errstate(invalid="ignore"):
                self._off[name] += _square(found.astype(np.float64) - right)
                self._whole[name] += _square(right.astype(np.float64))
            self.compared += int(np.count_nonzero(np.isfinite(found) & np.isfinite(right)))

    def relative(self) -> dict[str, float]:
        """Return the relative L2 error of each output; infinite where a value is not finite."""
        return {
            name: float(np.sqrt(off / (self._whole[name] or 1.0)))
            if np.isfinite(off + self._whole[name])
            else float("inf")
            for name, off in self._off.items()
        }


NAMES = {CORNERS: "boxes", CENTRES: "boxes", BEST: SCORES}
"""Names for tables of the parts of outputs whose own names describe their form."""


def placed_values(
    file: "ExportedFile", outputs: Sequence[npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Return those values of a picture's outputs that two files have in the same places.

    Lists of detections are left out, since their order may differ, and so are class indices, since
    their differences mean nothing.

    Args:
        file: the file that was run.
        outputs: its outputs for one picture, without a batch axis.

    Returns:
        The values by the name of the part.
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
    """Compare the outputs of two files; where NMS is in the graph, compare what enters it.

    Args:
        whole: the float32 form.
        other: a file with the same outputs.
        inputs: inputs as both files take them, (1, ...) each.

    Returns:
        The errors, without an F1.
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
    """Compare the outputs and the detections of two files.

    Args:
        whole: the float32 form.
        other: a file with the same outputs.
        pictures: picture files.

    Returns:
        The errors and the F1 of the detections.
    """
    differences = Differences()
    pairs = []
    items = (SourcePicture(one, picture_name(one), place) for place, one in enumerate(pictures))
    for ((_, ready),) in read_batches(functools.partial(prepare_item, whole), items):
        right, found = ([value[0] for value in one.run(ready.x)] for one in (whole, other))
        differences.add(*map(placed_values, (whole.file, other.file), (right, found)))
        pairs.append((whole.find(right, ready.fit), other.find(found, ready.fit)))
    compared = differences.compared + sum(len(one) + len(two) for one, two in pairs)
    return Likeness(differences.relative(), f1_of(pairs), differences.count, compared)


def f1_of(pairs: Iterable[tuple[Sequence[Detection], Sequence[Detection]]]) -> float | None:
    """Return F1: twice the number of detections that both sides have, over the number of all.

    Args:
        pairs: the detections of both sides, one pair of lists for each picture.

    Returns:
        The F1 in 0..1; None where there are no detections.
    """
    both = total = 0
    for one, two in pairs:
        both += len(common(one, two))
        total += len(one) + len(two)
    return 2 * both / total if total else None


def common(expected: Sequence[Detection], found: Sequence[Detection]) -> list[tuple[int, int]]:
    """Pair the detections that are of the same class and object; each is paired once.

    Args:
        expected: the detections of one side in a picture.
        found: the detections of the other side, by falling score: the best one chooses first.

    Returns:
        (index in `expected`, index in `found`) of each pair, from 0.
    """
    sides: list[Any] = []
    for side in (found, expected):
        sides.append(np.array([one.box for one in side]).reshape(-1, 4))
        sides.append(np.array([one.class_id for one in side], int))
    return [(right, place) for place, right in pair_off(*sides)]
