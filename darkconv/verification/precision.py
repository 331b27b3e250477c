"""Compare a written file with its float32 form or its model: size, time, outputs, boxes and AP."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Array, Model
from darkconv.core.spreading import evenly_spread
from darkconv.dataset.sample import Dataset
from darkconv.detection.detect import fitted_picture
from darkconv.detection.exported import FileEngine, as_input, least_threshold
from darkconv.errors import DarkconvError, Where
from darkconv.evaluation.evaluate import evaluate
from darkconv.evaluation.latency import Latency, interleaved
from darkconv.loading import open_exported
from darkconv.loading.formats import LITERT_SUFFIX, suffix_of
from darkconv.pictures.crop import centre_crop
from darkconv.pictures.picture import read_picture
from darkconv.verification.inputs import MANY, several_inputs
from darkconv.verification.likeness import (
    THRESHOLD,
    Likeness,
    likeness_on_inputs,
    likeness_on_pictures,
)
from darkconv.verification.outputs import compare_outputs
from darkconv.verification.results import FileVerification

CHECKED = 8  # the most pictures on which boxes of a file in 8 bits are compared with the model's
COMPARED = 100  # the most pictures on which two files are compared
NOISE = 4  # number of inputs of noise where there are no pictures
AT = 0.25  # score above which detections count for AP at a fixed score
OVERLAP = 0.45  # IoU for non-maximum suppression, where the file takes it as an input

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""A function that takes a total and a task, and shows a progress line while the context is open.

The context gives a function that takes the number of things that are done.
"""


@contextlib.contextmanager
def silent(total: int, task: str) -> Iterator[Callable[[int], None]]:
    """Show no progress.

    Args:
        total: number of things to do.
        task: name of the step.

    Yields:
        A function that takes the number of things that are done, and does nothing.
    """
    yield lambda done: None


@dataclass(frozen=True)
class FilePrecision:
    """A file in half precision or 8 bits, compared with its float32 form.

    Attributes:
        precision: "float16" or "int8".
        sizes: bytes of the float32 form and of the file.
        latency: time of a forward pass of both.
        likeness: agreement of their outputs and detections.
        ap: average precision of both, 0..1; None without labels.
        ap_at: average precision of the detections above the score `AT`, of both.
        labelled: number of pictures that AP was measured on.
        check: comparison of a file in 8 bits with the model on some of the pictures; else None.
    """

    precision: str
    sizes: tuple[int, int]
    latency: Latency
    likeness: Likeness
    ap: tuple[float, float] | None
    ap_at: tuple[float, float] | None
    labelled: int
    check: FileVerification | None = None

    @property
    def fault(self) -> str:
        """Return the reason not to trust the file, or "" where there is none."""
        return self.likeness.fault or self.disagreement

    @property
    def disagreement(self) -> str:
        """Return how a file in 8 bits disagrees with the model, or "" where it agrees."""
        rows = self.check.rows if self.check else ()
        for row in rows:
            if row.compared and not row.is_good:
                what = row.remark or f"error {row.error:.2g}, allowed {row.allowed:.2g}"
                return f"does not agree with the model: {row.name}: {what}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, with None in place of infinite errors."""
        errors = {n: e if math.isfinite(e) else None for n, e in self.likeness.errors.items()}
        likeness = {**asdict(self.likeness), "errors": errors}
        conditions = self.latency.conditions
        figures = asdict(replace(self, check=None))
        check = self.check.to_dict() if self.check else None
        return {
            **figures, "likeness": likeness, "check": check, "conditions": conditions, "at": AT
        }  # fmt: skip

    def __repr__(self) -> str:
        """Return size, time and AP in one line."""
        before, after = self.latency.milliseconds.values()
        parts = [
            f"{self.sizes[0]:,} -> {self.sizes[1]:,} bytes",
            f"{before:.2f} -> {after:.2f} ms",
        ]
        if self.ap:
            parts.append(f"AP {self.ap[0]:.3f} -> {self.ap[1]:.3f}")
        return f"<FilePrecision {self.precision}: {', '.join(parts)}>"


@dataclass(frozen=True)
class FileAgreement:
    """A file in float32, compared with the model that it was made from.

    Attributes:
        precision: precision of the file.
        size: bytes of the file.
        latency: time of a forward pass of the file.
        found: comparison of its outputs with the model's.
    """

    precision: str
    size: int
    latency: Latency
    found: FileVerification

    @property
    def fault(self) -> DarkconvError | None:
        """Return an error that says what is wrong with the file; None where it agrees."""
        for row in self.found.rows:
            if not row.is_good:
                return DarkconvError(
                    f"was written, but does not agree with the model: {row.name}",
                    where=Where(file=self.found.file),
                    expected=f"an error of at most {row.allowed:.0e}",
                    found=row.remark or f"{row.error:.1e}",
                )
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            "precision": self.precision,
            "size": self.size,
            "milliseconds": self.latency.milliseconds[self.precision],
            "conditions": self.latency.conditions,
            **self.found.to_dict(),
        }


def compare_precision(
    model: Model,
    whole: ExportedFile,
    other: ExportedFile,
    sizes: tuple[int, int],
    pictures: Sequence[Path],
    labelled: Dataset | None,
    *,
    progress: Progress = silent,
) -> FilePrecision:
    """Compare a file with its float32 form.

    Args:
        model: the model that both were made from.
        whole: the float32 form.
        other: the file in half precision or 8 bits.
        sizes: bytes of both files.
        pictures: picture files to run both on; noise is used where there are none.
        labelled: labelled pictures that AP is measured on; None to leave AP out.
        progress: shows the progress of each step.

    Returns:
        The comparison.
    """
    ap = ap_at = None
    if labelled and whole.network.finds_boxes:
        before, after = (average_precision(file, labelled, progress) for file in (whole, other))
        ap, ap_at = zip(before, after, strict=True)
    return FilePrecision(
        other.precision,
        sizes,
        latency({"float32": whole, other.precision: other}),
        likeness(whole, other, spread(pictures), progress),
        ap,
        ap_at,
        len(labelled or ()),
        check_8_bits(model, other, pictures) if other.precision == "int8" else None,
    )


def check_8_bits(model: Model, file: ExportedFile, pictures: Sequence[Path]) -> FileVerification:
    """Compare a file in 8 bits with its model on some of the pictures.

    Args:
        model: the model that the file was made from.
        file: the file in 8 bits.
        pictures: picture files; noise and bundled pictures are used where there are none.

    Returns:
        The rows of the comparison.
    """
    some = evenly_spread(pictures, CHECKED if model.network.finds_boxes else MANY)
    given = several_inputs(model, list(some) or None, has_columns=True)
    return compare_outputs(model, file, given)


def compare_with_model(model: Model, path: Path) -> FileAgreement:
    """Run a file that was written, and compare it with its model.

    Args:
        model: the model that the file was made from.
        path: the file.

    Returns:
        The file's size and time, and the comparison of its outputs.
    """
    file = open_exported(path)
    run = functools.partial(file.run, noise(file)[0])
    timed = interleaved({file.precision: run}, _engine(path))
    file = open_exported(path)  # a new one, without the recurrent state of the timed runs
    found = compare_outputs(model, file, several_inputs(model, None))
    return FileAgreement(file.precision, path.stat().st_size, timed, found)


class Counted(Sequence[Any]):
    """A sequence that reports how many of its items have been read."""

    def __init__(self, items: Sequence[Any], update: Callable[[int], None]) -> None:
        self._items = items
        self._update = update

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        item = self._items[place]
        self._update(place + 1)
        return item


class Planes(Sequence[Array]):
    """Pictures as planes (C, H, W), each read when it is asked for."""

    def __init__(self, file: ExportedFile, pictures: Sequence[Path]) -> None:
        self._file = file
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        return planes_of(self._file, self._pictures[place])


class GraphInputs(Planes):
    """Pictures as a file's graph takes them, (1, ...), each read when it is asked for."""

    def __getitem__(self, place: Any) -> Any:
        return as_input(self._file, super().__getitem__(place))[0]


def planes_of(file: ExportedFile, picture: Path) -> Array:
    """Return a picture as planes (C, H, W), fitted as detection or classification does.

    Args:
        file: the file that takes the picture.
        picture: the picture file.
    """
    network = file.network
    if network.finds_boxes:
        levels, fit = fitted_picture(network, picture, file.resize)
        return fit.apply(levels)
    shape = network.input_shape
    return centre_crop(read_picture(picture, channels=shape.c), (shape.w, shape.h))


def spread(pictures: Sequence[Path]) -> list[Path]:
    """Return at most `COMPARED` of the pictures, evenly spread.

    Args:
        pictures: picture files.
    """
    return list(evenly_spread(pictures, COMPARED))


def likeness(
    whole: ExportedFile,
    other: ExportedFile,
    pictures: Sequence[Path],
    progress: Progress = silent,
) -> Likeness:
    """Return the agreement of two files: of their detections too where there are pictures for them.

    Args:
        whole: the float32 form.
        other: a file with the same outputs.
        pictures: picture files; noise is used where there are none.
        progress: shows the progress of the step.
    """
    if pictures and whole.network.finds_boxes and whole.head != "logits":
        least = least_threshold(whole, THRESHOLD)
        one, two = (FileEngine(file, least) for file in (whole, other))
        with progress(len(pictures), "comparing on pictures") as update:
            found = likeness_on_pictures(one, two, counted(pictures, update))
        if found.compared:
            return found
    inputs = GraphInputs(whole, pictures) if pictures else noise(whole)
    return likeness_on_inputs(whole, other, inputs)


def counted(items: Sequence[Path], update: Callable[[int], None]) -> Iterator[Path]:
    """Yield the items, and report the number of those that are done.

    Args:
        items: the items to go through.
        update: takes the number of items that are done.
    """
    for number, item in enumerate(items, 1):
        yield item
        update(number)


def noise(file: ExportedFile) -> list[npt.NDArray[Any]]:
    """Return `NOISE` inputs of uniform noise as a file's graph takes them, (1, ...) each.

    Args:
        file: the file that takes the inputs.
    """
    shape, stream = file.network.input_shape, np.random.default_rng(0)
    size = tuple(shape) if shape.is_map else (shape.size,)
    return [as_input(file, stream.random(size, np.float32))[0] for _ in range(NOISE)]


def time_of(files: Mapping[str, ExportedFile]) -> Mapping[str, float]:
    """Return how many milliseconds each file takes for one input, measured in turns.

    Args:
        files: files of one model, by name.
    """
    return latency(files).milliseconds


def latency(files: Mapping[str, ExportedFile]) -> Latency:
    """Return how long files of one model take for one input, measured in turns.

    Args:
        files: files of one model, by name.
    """
    first = next(iter(files.values()))
    x = noise(first)[0]
    runs = {
        name: functools.partial(file.run, x, **file.threshold_inputs(AT, OVERLAP))
        for name, file in files.items()
    }
    return interleaved(runs, _engine(first.path))


def _engine(path: str | Path) -> str:
    return "litert" if suffix_of(path) == LITERT_SUFFIX else "onnx"


def average_precision(
    file: ExportedFile, dataset: Dataset, progress: Progress = silent
) -> tuple[float, float]:
    """Return average precision by VOC's rule, of all detections and of those above `AT`, 0..1.

    Args:
        file: the file to measure.
        dataset: labelled pictures.
        progress: shows the progress of the step.
    """
    with progress(len(dataset), "detecting in pictures") as update:
        mean = evaluate(file, dataset, at=AT, coco=False, progress=update).mean
    ap, ap_at = (math.nan if value is None else value for value in (mean.ap, mean.ap_at))
    return ap, ap_at
