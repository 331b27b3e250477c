"""An exported file beside its float32 form: size, time, outputs, detections, AP."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.cli.models import read_exported
from darkconv.cli.params import (
    ModelWords,
    Output,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.cli.progress import progress
from darkconv.core.model import Model
from darkconv.errors import DarkconvError, Where
from darkconv.exporting import (
    size_of,
    written_files,
)
from darkconv.files.sizes import format_size
from darkconv.loading.formats import LITERT_SUFFIX
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    import numpy.typing as npt

    from darkconv.backends.exported import ExportedFile
    from darkconv.dataset import Dataset
    from darkconv.evaluation.latency import Latency
    from darkconv.verification.likeness import Likeness

COMPARED = 100  # pictures on which two files are compared, at most
NOISE = 4  # inputs of noise where there are no pictures
AT = 0.25  # score for AP at a fixed score


@dataclass(frozen=True)
class Report:
    """A file beside its float32 form.

    Attributes:
        precision: "float16" or "int8".
        sizes: bytes of both.
        latency: of both.
        likeness: of their outputs and detections.
        ap: average precision of both; None without labels.
        ap_at: the same of detections above `AT` alone.
        labelled: pictures that AP is of.
    """

    precision: str
    sizes: tuple[int, int]
    latency: "Latency"
    likeness: "Likeness"
    ap: tuple[float, float] | None
    ap_at: tuple[float, float] | None
    labelled: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which knows no infinity: null in place of it."""
        errors = {n: e if math.isfinite(e) else None for n, e in self.likeness.errors.items()}
        likeness = {**asdict(self.likeness), "errors": errors}
        conditions = self.latency.conditions
        return {**asdict(self), "likeness": likeness, "conditions": conditions, "at": AT}


class GraphInputs(Sequence["npt.NDArray[Any]"]):
    """Pictures as a file's graph takes them, (1, ...), read when they are asked for."""

    def __init__(self, file: "ExportedFile", pictures: Sequence[Path]) -> None:
        self._file = file
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        from darkconv.detection.exported import as_input

        return as_input(self._file, planes_of(self._file, self._pictures[place]))[0]


def planes_of(file: "ExportedFile", picture: Path) -> Any:
    """A picture as planes (C, H, W), fitted as detection or classification does."""
    from darkconv.detection.crop import centre_crop
    from darkconv.detection.detect import fitted_picture
    from darkconv.detection.picture import read_picture

    network = file.network
    if finds_boxes(file):
        levels, fit = fitted_picture(network, picture, file.resize)
        return fit.apply(levels)
    shape = network.input_shape
    return centre_crop(read_picture(picture, channels=shape.c), (shape.w, shape.h))


def finds_boxes(file: "ExportedFile") -> bool:
    """Whether the network predicts boxes."""
    return file.network.finds_boxes


def report(
    whole: "ExportedFile",
    other: "ExportedFile",
    sizes: tuple[int, int],
    pictures: Sequence[Path],
    labelled: "Dataset | None",
) -> Report:
    """Compare a file with its float32 form.

    Args:
        whole: the float32 form.
        other: the file.
        sizes: bytes of both.
        pictures: to run both on; without any it is noise.
        labelled: for AP.
    """
    ap = ap_at = None
    if labelled and finds_boxes(whole):
        before, after = (average_precision(file, labelled) for file in (whole, other))
        ap, ap_at = zip(before, after, strict=True)
    return Report(
        other.precision,
        sizes,
        latency(whole, other),
        likeness(whole, other, spread(pictures)),
        ap,
        ap_at,
        len(labelled or ()),
    )


def written_size(output: Output, *, external: bool) -> int:
    """Bytes of an ONNX file, with those of the file of weights beside it."""
    return sum(map(size_of, written_files(output.path, external=external)))


def spread(pictures: Sequence[Path]) -> list[Path]:
    """At most `COMPARED` of them, evenly spread."""
    count = len(pictures)
    most = min(count, COMPARED)
    return [pictures[i * count // most] for i in range(most)]


def likeness(whole: "ExportedFile", other: "ExportedFile", pictures: Sequence[Path]) -> "Likeness":
    """How near the outputs are, and detections where there are pictures for them."""
    from darkconv.detection.exported import FileEngine, least_threshold
    from darkconv.verification.likeness import THRESHOLD, likeness_on_inputs, likeness_on_pictures

    if pictures and finds_boxes(whole):
        least = least_threshold(whole, THRESHOLD)
        names = [] if whole.head == "nms" else whole.run.outputs
        one, two = (FileEngine(file, least) for file in (whole, other))
        with progress(len(pictures), "comparing on pictures") as update:
            found = likeness_on_pictures(one, two, names, counted(pictures, update))
        if found.compared:
            return found
    inputs = GraphInputs(whole, pictures) if pictures else noise(whole)
    return likeness_on_inputs(whole, other, inputs)


def counted(items: Sequence[Path], update: Callable[[int], None]) -> Iterator[Path]:
    """The items; how many are done is told."""
    for number, item in enumerate(items, 1):
        yield item
        update(number)


def noise(file: "ExportedFile") -> "list[npt.NDArray[Any]]":
    """Seeded noise as a file's graph takes it."""
    import numpy as np

    from darkconv.detection.exported import as_input

    shape, stream = file.network.input_shape, np.random.default_rng(0)
    size = tuple(shape) if shape.is_map else (shape.size,)
    return [as_input(file, stream.random(size, np.float32))[0] for _ in range(NOISE)]


def latency(whole: "ExportedFile", other: "ExportedFile") -> "Latency":
    """How long both take for one input."""
    from darkconv.evaluation.latency import interleaved

    x = noise(whole)[0]
    runs = {
        name: functools.partial(file.run, x, **file.threshold_inputs(AT, 0.45))
        for name, file in (("float32", whole), (other.precision, other))
    }
    return interleaved(runs, "litert" if whole.path.endswith(LITERT_SUFFIX) else "onnx")


def average_precision(file: "ExportedFile", dataset: "Dataset") -> tuple[float, float]:
    """AP by VOC's rule, of all detections and of those above `AT` alone, 0..1."""
    from darkconv.evaluation.evaluate import evaluate

    with progress(len(dataset), "detecting in pictures") as update:
        mean = evaluate(file, dataset, at=AT, coco=False, progress=update).mean
    ap, ap_at = (math.nan if value is None else value for value in (mean.ap, mean.ap_at))
    return ap, ap_at


def show_report(found: Report) -> None:
    """Print the table."""
    first, second = (f"{ms:.2f}" for ms in found.latency.milliseconds.values())
    rows: list[tuple[object, ...]] = [
        ("file size", *map(format_size, found.sizes)),
        ("milliseconds a picture", first, second),
    ]
    for name, pair in (("AP", found.ap), (f"AP at {AT:g}", found.ap_at)):
        if pair:
            rows.append((name, *(f"{per_cent(value)} %" for value in pair)))
    rows += [(f"relative error of {n}", "", f"{e:.1e}") for n, e in found.likeness.errors.items()]
    if found.likeness.f1 is not None:
        rows.append((f"F1 of detections above {AT:g}", "", f"{per_cent(found.likeness.f1)} %"))
    echo_table(("", "float32", found.precision), rows, left=(0,))
    ran_on = f"{found.likeness.inputs} {'pictures' if found.likeness.f1 is not None else 'inputs'}"
    compared = f"{found.likeness.compared:,} values and detections compared on {ran_on}"
    echo(f"{compared}; {found.latency.conditions}", err=True)


def print_reports(reports: Mapping[str, Report], *, as_json: bool) -> None:
    """Print what was compared, by the file's name.

    Raises:
        DarkconvError: a file gives no finite numbers, or there was nothing to compare.
    """
    if as_json:
        echo_json({name: one.as_dict() for name, one in reports.items()})
    else:
        for one in reports.values():
            show_report(one)
    faults = {name: one.likeness.fault for name, one in reports.items() if one.likeness.fault}
    for name, fault in faults.items():
        raise DarkconvError(f"was written, but {fault}", where=Where(file=name))


def show_agreement_with(model: Model, output: Output) -> None:
    """Run a file that was written, and print its time and how near it is to the model.

    Raises:
        DarkconvError: the two disagree, or there was nothing to compare.
    """
    from darkconv.evaluation.latency import interleaved
    from darkconv.verification.inputs import several_inputs
    from darkconv.verification.outputs import compare_outputs

    file = read_exported(ModelWords(str(output.path)))
    timed = interleaved({file.precision: functools.partial(file.run, noise(file)[0])}, "litert")
    file = read_exported(ModelWords(str(output.path)))  # without the state of those runs
    found = compare_outputs(model, file, several_inputs(model, None))
    rows = [
        ("file size", format_size(output.path.stat().st_size), ""),
        ("milliseconds a picture", f"{timed.milliseconds[file.precision]:.2f}", ""),
        *((f"error of {e.name}", f"{e.error:.1e}", f"{e.allowed:.0e}") for e in found.rows),
    ]
    echo_table(("", file.precision, "allowed"), rows, left=(0,))
    echo(f"{timed.conditions}; {found.compared:,} values compared on {found.given}", err=True)
    wrong = [row for row in found.rows if not row.is_good]
    for row in wrong:
        raise DarkconvError(
            f"was written, but does not agree with the model: {row.name}",
            where=Where(file=str(output.path)),
            expected=f"an error of at most {row.allowed:.0e}",
            found=row.remark or f"{row.error:.1e}",
        )
