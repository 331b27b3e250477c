"""A written file beside its float32 form, or beside the model: size, time, outputs, boxes, AP."""

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

CHECKED = 8  # pictures on which boxes of a file in 8 bits are held against the model's, at most
COMPARED = 100  # pictures on which two files are compared, at most
NOISE = 4  # inputs of noise where there are no pictures
AT = 0.25  # score for AP at a fixed score
OVERLAP = 0.45

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""Begins to show a step of so many things, and gives what takes the number of those done."""


@contextlib.contextmanager
def silent(total: int, task: str) -> Iterator[Callable[[int], None]]:
    """Show nothing of a step."""
    yield lambda done: None


@dataclass(frozen=True)
class FilePrecision:
    """A file in half precision or 8 bits beside its float32 form.

    Attributes:
        precision: "float16" or "int8".
        sizes: bytes of the float32 form and of the file.
        latency: of both.
        likeness: of their outputs and detections.
        ap: average precision of both, 0..1; None without labels.
        ap_at: the same of detections above `AT` alone.
        labelled: pictures that AP is of.
        check: of a file in 8 bits: what it gives beside what the model gives, on some of the
            pictures.
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
        """Why the file is not to be trusted: nothing where it is."""
        return self.likeness.fault or self.disagreement

    @property
    def disagreement(self) -> str:
        """How a file in 8 bits does not agree with the model: nothing where it does."""
        rows = self.check.rows if self.check else ()
        for row in rows:
            if row.compared and not row.is_good:
                what = row.remark or f"error {row.error:.2g}, allowed {row.allowed:.2g}"
                return f"does not agree with the model: {row.name}: {what}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON, which knows no infinity: None in place of it."""
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
    """A file in float32 beside the model that it was made from.

    Attributes:
        precision: of the file.
        size: bytes.
        latency: of the file.
        found: how its outputs agree with the model's.
    """

    precision: str
    size: int
    latency: Latency
    found: FileVerification

    @property
    def fault(self) -> DarkconvError | None:
        """What is wrong with the file; None where it agrees."""
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
        """Return it as JSON can hold it."""
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
        model: that both were made from.
        whole: the float32 form.
        other: the file.
        sizes: bytes of both.
        pictures: to run both on; without any it is noise.
        labelled: for AP.
        progress: shows how far a step is.
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
    """Compare a file in 8 bits with its model on some of the pictures."""
    some = evenly_spread(pictures, CHECKED if model.network.finds_boxes else MANY)
    given = several_inputs(model, list(some) or None, has_columns=True)
    return compare_outputs(model, file, given)


def compare_with_model(model: Model, path: Path) -> FileAgreement:
    """Run a file that was written: its time, and how near it is to the model."""
    file = open_exported(path)
    run = functools.partial(file.run, noise(file)[0])
    timed = interleaved({file.precision: run}, _engine(path))
    file = open_exported(path)  # without the state of those runs
    found = compare_outputs(model, file, several_inputs(model, None))
    return FileAgreement(file.precision, path.stat().st_size, timed, found)


class Counted(Sequence[Any]):
    """A sequence that tells how far it has been read."""

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
    """Pictures as planes (C, H, W), read when they are asked for."""

    def __init__(self, file: ExportedFile, pictures: Sequence[Path]) -> None:
        self._file = file
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        return planes_of(self._file, self._pictures[place])


class GraphInputs(Planes):
    """Pictures as a file's graph takes them, (1, ...), read when they are asked for."""

    def __getitem__(self, place: Any) -> Any:
        return as_input(self._file, super().__getitem__(place))[0]


def planes_of(file: ExportedFile, picture: Path) -> Array:
    """Return a picture as planes (C, H, W), fitted as detection or classification does."""
    network = file.network
    if network.finds_boxes:
        levels, fit = fitted_picture(network, picture, file.resize)
        return fit.apply(levels)
    shape = network.input_shape
    return centre_crop(read_picture(picture, channels=shape.c), (shape.w, shape.h))


def spread(pictures: Sequence[Path]) -> list[Path]:
    """Return at most `COMPARED` of them, evenly spread."""
    return list(evenly_spread(pictures, COMPARED))


def likeness(
    whole: ExportedFile,
    other: ExportedFile,
    pictures: Sequence[Path],
    progress: Progress = silent,
) -> Likeness:
    """Return how near the outputs are, and detections where there are pictures for them."""
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
    """Yield the items; how many are done is told."""
    for number, item in enumerate(items, 1):
        yield item
        update(number)


def noise(file: ExportedFile) -> list[npt.NDArray[Any]]:
    """Return seeded noise as a file's graph takes it."""
    shape, stream = file.network.input_shape, np.random.default_rng(0)
    size = tuple(shape) if shape.is_map else (shape.size,)
    return [as_input(file, stream.random(size, np.float32))[0] for _ in range(NOISE)]


def time_of(files: Mapping[str, ExportedFile]) -> Mapping[str, float]:
    """Return how many milliseconds files of one model take for one input, by turns."""
    return latency(files).milliseconds


def latency(files: Mapping[str, ExportedFile]) -> Latency:
    """Return how long files of one model take for one input, by turns."""
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
    """Return AP by VOC's rule, of all detections and of those above `AT` alone, 0..1."""
    with progress(len(dataset), "detecting in pictures") as update:
        mean = evaluate(file, dataset, at=AT, coco=False, progress=update).mean
    ap, ap_at = (math.nan if value is None else value for value in (mean.ap, mean.ap_at))
    return ap, ap_at
