"""`darkconv convert` to half precision and 8 bits: what it costs and what it gains."""

import functools
import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.models import format_size, read_exported, write_model
from darkconv.cli.params import ModelWords, Output
from darkconv.cli.pictures import KINDS, PictureOptions, open_pictures
from darkconv.cli.progress import progress
from darkconv.cli.table import format_table
from darkconv.core.model import Model
from darkconv.errors import DarkconvError, DatasetError
from darkconv.layers.head import decodes_boxes

if TYPE_CHECKING:
    import numpy.typing as npt

    from darkconv.backends.onnx import OnnxFile
    from darkconv.dataset import Dataset
    from darkconv.detection.likeness import Likeness
    from darkconv.evaluation.latency import Latency

logger = logging.getLogger("darkconv")

COMPARED = 100  # pictures on which two files are compared, at most
OUTSIDE = ("external", "in_place")  # options of files whose weights lie elsewhere
NOISE = 4  # inputs of noise where there are no pictures
AT = 0.25  # score for AP at a fixed score


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How the user wants numbers to be made smaller.

    Attributes:
        fp16: half precision.
        int8: 8 bits.
        calibrate: sources of the pictures by which the 8-bit numbers are chosen.
        calibration: method by which they are.
        reduce_range: weights in 7 bits.
        data: sources of labelled pictures for AP.
        as_json: print the comparison as JSON.
    """

    fp16: bool
    int8: bool
    calibrate: tuple[str, ...]
    calibration: str | None
    reduce_range: bool
    data: tuple[str, ...]
    as_json: bool

    def __post_init__(self) -> None:
        """Check that the options go together."""
        if self.fp16 and self.int8:
            raise click.UsageError("--fp16 and --int8 are two kinds of file: choose one")
        if self.int8 and not self.calibrate:
            raise click.UsageError("--int8 needs --calibrate: pictures such as it will see")
        for name in ("calibrate", "calibration", "reduce_range"):
            if getattr(self, name) and not self.int8:
                raise click.UsageError(f"--{name.replace('_', '-')} is about --int8")
        for name, is_given in (("--data", self.data), ("--json", self.as_json)):
            if is_given and not self.kind:
                raise click.UsageError(f"{name} is about --fp16 and --int8")

    @property
    def kind(self) -> tuple[str, ...]:
        """The option that says how small; none where nothing is to be done."""
        return ("fp16",) * self.fp16 + ("int8",) * self.int8

    def check(self, onnx_options: Mapping[str, Any]) -> None:
        """Check that options of ONNX files go with 8 bits."""
        for name in ("fold", *OUTSIDE):
            if self.int8 and name in onnx_options:
                option = "no-fold" if name == "fold" else name.replace("_", "-")
                raise click.UsageError(f"--int8 and --{option} exclude each other")


def reduction_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--fp16, --int8 and what belongs to them; the command gets them as `reduction`."""

    @functools.wraps(command)
    def collected(*args: Any, **values: Any) -> Any:
        own = {name: values.pop(name) for name in Reduction.__dataclass_fields__}
        return command(*args, reduction=Reduction(**own), **values)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected


_OPTIONS = (
    click.option(
        "--fp16", is_flag=True, help="Half precision, but for heads, decoding, inputs and outputs."
    ),
    click.option(
        "--int8", is_flag=True, help="8 bits, but for heads and decoding; needs --calibrate."
    ),
    click.option(
        "--calibrate",
        multiple=True,
        metavar="D",
        help=f"For --int8: what the network will see: {KINDS}.",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["percentile", "minmax", "entropy"]),
        help="For --int8: how ranges of values are chosen  [default: percentile]",
    ),
    click.option(
        "--reduce-range",
        is_flag=True,
        help="For --int8: weights of 7 bits, for x86 CPUs without VNNI, where 8 overflow.",
    ),
    click.option(
        "--data",
        multiple=True,
        metavar="D",
        help="For --fp16 and --int8: labelled pictures for AP before and after.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON."),
)


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
        """For JSON."""
        return {**asdict(self), "conditions": self.latency.conditions, "at": AT}


def write_reduced(
    model: Model,
    output: Output,
    reduction: Reduction,
    pictures: PictureOptions,
    onnx_options: Mapping[str, Any],
) -> Report:
    """Write an ONNX file in half precision or 8 bits, and compare it with its float32 form.

    Args:
        model: what to write.
        output: the file.
        reduction: how.
        pictures: which of the pictures count.
        onnx_options: see `darkconv.to_onnx`.
    """
    labelled = open_pictures(reduction.data, pictures, model=model) if reduction.data else None
    shown = [sample.image for sample in labelled.samples] if labelled else []
    with tempfile.TemporaryDirectory(prefix="darkconv-") as folder:
        path = Path(folder) / "float32.onnx"
        inside = {name: value for name, value in onnx_options.items() if name not in OUTSIDE}
        write_model(model, Output(path), **inside)
        whole = read_exported(ModelWords(str(path)))
        if reduction.int8:
            shown = calibration_pictures(model, reduction, pictures)
            write_int8(whole, shown, output.path, reduction)
        else:
            write_model(model, output, **onnx_options, fp16=True)
            warn_of_large_values(model, whole, shown)
        other = read_exported(ModelWords(str(output.path)))
        sizes = (path.stat().st_size, written_size(output, external="external" in onnx_options))
        return report(whole, other, sizes, shown, labelled)


def calibration_pictures(
    model: Model, reduction: Reduction, pictures: PictureOptions
) -> list[Path]:
    """The pictures for the choice of 8-bit numbers; broken ones are told and left out.

    Raises:
        DarkconvError: the network takes no pictures.
        DatasetError: none can be read.
    """
    from darkconv.detection.picture import read_picture

    shape = model.network.input_shape
    if not shape.is_map:
        raise DarkconvError(
            f"{model.network.file}: takes no pictures, by which 8-bit numbers are chosen"
        )
    dataset = open_pictures(reduction.calibrate, pictures, model=model)
    readable = []
    for sample in dataset.samples:
        try:
            read_picture(sample.image, channels=shape.c, exact=False)
            readable.append(sample.image)
        except DatasetError as error:
            logger.warning("%s", error)
    if not readable:
        raise DatasetError(f"{dataset.source}: no picture could be read")
    return readable


class GraphInputs(Sequence["npt.NDArray[Any]"]):
    """Pictures as a file's graph takes them, (1, ...), read when they are asked for."""

    def __init__(self, file: "OnnxFile", pictures: Sequence[Path]) -> None:
        self._file = file
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        from darkconv.detection.exported import as_input

        return as_input(self._file, planes_of(self._file, self._pictures[place]))[0]


def planes_of(file: "OnnxFile", picture: Path) -> Any:
    """A picture as planes (C, H, W), fitted as detection or classification does."""
    from darkconv.detection.detect import fitted_picture
    from darkconv.detection.picture import read_picture
    from darkconv.finetune.crop import centre_crop

    network = file.network
    if finds_boxes(file):
        levels, fit = fitted_picture(network, picture, None)
        return fit.apply(levels)
    shape = network.input_shape
    return centre_crop(read_picture(picture, channels=shape.c), (shape.w, shape.h))


def finds_boxes(file: "OnnxFile") -> bool:
    """Whether the network predicts boxes."""
    return any(decodes_boxes(layer.spec) for layer in file.network.heads)


def write_int8(
    whole: "OnnxFile", pictures: Sequence[Path], path: Path, reduction: Reduction
) -> None:
    """Write the 8-bit form of a float32 file."""
    from darkconv.backends.onnx.quantization import Quantization, quantize_file

    given = {"method": reduction.calibration} if reduction.calibration else {}
    how = Quantization(reduce_range=reduction.reduce_range, **given)
    with progress(len(pictures), "calibrating on pictures") as update:
        inputs = Counted(GraphInputs(whole, pictures), update)
        quantize_file(whole.path, path, whole.network, inputs, how)


class Counted(Sequence[Any]):
    """A sequence that tells how far it has been read."""

    def __init__(self, items: Sequence[Any], update: Callable[[int], None]) -> None:
        self._items = items
        self._update = update

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        self._update(place + 1)
        return self._items[place]


def report(
    whole: "OnnxFile",
    other: "OnnxFile",
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
    from darkconv.backends import spoke

    beside = [spoke("onnx").data_path(output.path)] if external else []
    return sum(path.stat().st_size for path in (output.path, *beside))


def spread(pictures: Sequence[Path]) -> list[Path]:
    """At most `COMPARED` of them, evenly spread."""
    count = len(pictures)
    most = min(count, COMPARED)
    return [pictures[i * count // most] for i in range(most)]


def likeness(whole: "OnnxFile", other: "OnnxFile", pictures: Sequence[Path]) -> "Likeness":
    """How near the outputs are, and detections where there are pictures for them."""
    from darkconv.detection.exported import FileDetector, least_threshold
    from darkconv.detection.likeness import THRESHOLD, likeness_on_inputs, likeness_on_pictures

    if pictures and finds_boxes(whole):
        least = least_threshold(whole, THRESHOLD)
        names = [] if whole.head == "nms" else whole.run.outputs
        one, two = (FileDetector(file, least) for file in (whole, other))
        with progress(len(pictures), "comparing on pictures") as update:
            return likeness_on_pictures(one, two, names, counted(pictures, update))
    inputs = GraphInputs(whole, pictures) if pictures else noise(whole)
    return likeness_on_inputs(whole, other, inputs)


def counted(items: Sequence[Path], update: Callable[[int], None]) -> Iterator[Path]:
    """The items; how many are done is told."""
    for number, item in enumerate(items, 1):
        yield item
        update(number)


def noise(file: "OnnxFile") -> "list[npt.NDArray[Any]]":
    """Seeded noise as a file's graph takes it."""
    import numpy as np

    from darkconv.detection.exported import as_input

    shape, stream = file.network.input_shape, np.random.default_rng(0)
    size = tuple(shape) if shape.is_map else (shape.size,)
    return [as_input(file, stream.random(size, np.float32))[0] for _ in range(NOISE)]


def latency(whole: "OnnxFile", other: "OnnxFile") -> "Latency":
    """How long both take for one input."""
    from darkconv.evaluation.latency import interleaved

    x = noise(whole)[0]
    runs = {
        name: functools.partial(file.run, x, **file.threshold_inputs(AT, 0.45))
        for name, file in (("float32", whole), (other.precision, other))
    }
    return interleaved(runs, "onnx")


def average_precision(file: "OnnxFile", dataset: "Dataset") -> tuple[float, float]:
    """AP by VOC's rule, of all detections and of those above `AT` alone, 0..1."""
    from darkconv.cli.eval import common_classes, detector_of, find_all
    from darkconv.evaluation.average_precision import all_points, averaged
    from darkconv.evaluation.matching import VOC
    from darkconv.evaluation.report import Comparison

    found, _ = find_all(detector_of(file), dataset)
    comparison = Comparison.of(found, dataset, common_classes(file, dataset), VOC)
    sure = [one.above(AT) for one in comparison.judged]
    return averaged(comparison.judged, all_points).mean, averaged(sure, all_points).mean


def warn_of_large_values(model: Model, whole: "OnnxFile", pictures: Sequence[Path]) -> None:
    """Say which layers leave float16 on some of the pictures, or on noise.

    A CPU's runtime may compute in float32 in between, where a GPU's gives infinities.
    """
    import numpy as np

    from darkconv.backends import trace

    shape = model.network.input_shape
    planes = [planes_of(whole, picture) for picture in spread(pictures)[:NOISE]]
    if not planes:
        size = tuple(shape) if shape.is_map else (shape.size,)
        planes = [np.random.default_rng(0).random(size, np.float32)]
    largest = float(np.finfo(np.float16).max)
    told: set[int] = set()
    for x in planes:
        for index, values in enumerate(trace(model, x, backend="onnx")):
            reached = float(np.abs(values).max(initial=0))
            if reached > largest and index not in told:
                told.add(index)
                logger.warning(
                    "%s: reaches %.3g, and half precision ends at %.0f: it will be infinite",
                    model.network.where(index),
                    reached,
                    largest,
                )


def show_report(found: Report) -> None:
    """Print the table."""
    first, second = (f"{ms:.2f}" for ms in found.latency.milliseconds.values())
    rows: list[tuple[object, ...]] = [
        ("file size", *map(format_size, found.sizes)),
        ("milliseconds a picture", first, second),
    ]
    for name, pair in (("AP", found.ap), (f"AP at {AT:g}", found.ap_at)):
        if pair:
            rows.append((name, *(f"{100 * value:.1f}" for value in pair)))
    rows += [(f"relative error of {n}", "", f"{e:.1e}") for n, e in found.likeness.errors.items()]
    if found.likeness.f1 is not None:
        rows.append((f"F1 of detections above {AT:g}", "", f"{found.likeness.f1:.3f}"))
    click.echo(format_table(("", "float32", found.precision), rows, left=(0,)))
    ran_on = f"{found.likeness.inputs} {'pictures' if found.likeness.f1 is not None else 'inputs'}"
    click.echo(f"compared on {ran_on}; {found.latency.conditions}", err=True)


def print_reports(reports: Mapping[str, Report], *, as_json: bool) -> None:
    """Print what was compared, by the file's name."""
    if as_json:
        click.echo(json.dumps({name: one.as_dict() for name, one in reports.items()}, indent=2))
        return
    for one in reports.values():
        show_report(one)
