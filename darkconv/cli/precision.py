"""`darkconv convert` to half precision and 8 bits: what it costs and what it gains."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_report import (
    NOISE,
    GraphInputs,
    Report,
    planes_of,
    report,
    spread,
    written_size,
)
from darkconv.cli.models import read_exported, write_model
from darkconv.cli.params import (
    ModelWords,
    Output,
    Word,
)
from darkconv.cli.pictures import KINDS, PictureOptions, open_pictures
from darkconv.cli.progress import progress
from darkconv.core.model import Model
from darkconv.dataset.telling import report_unread
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files import scratch_folder
from darkconv.loading.formats import LITERT_SUFFIX

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

logger = logging.getLogger("darkconv")

OUTSIDE = ("external", "in_place")  # options of files whose weights lie elsewhere


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

    def check_format(self, output: Output) -> None:
        """Check that a file's format knows the way that was chosen."""
        for name in ("calibration", "reduce_range"):
            if output.suffix == LITERT_SUFFIX and getattr(self, name):
                raise click.UsageError(f"--{name.replace('_', '-')} is about .onnx files")

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
        type=Word(),
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
        type=Word(),
        metavar="D",
        help="For --fp16 and --int8: labelled pictures for AP before and after.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON."),
)


def write_reduced(
    model: Model,
    output: Output,
    reduction: Reduction,
    pictures: PictureOptions,
    options: Mapping[str, Any],
) -> Report:
    """Write a file in half precision or 8 bits, and compare it with its float32 form.

    Args:
        model: what to write.
        output: the file, ONNX or LiteRT.
        reduction: how.
        pictures: which of the pictures count.
        options: of the format: see `write_model`.
    """
    reduction.check_format(output)
    labelled = open_pictures(reduction.data, pictures, model=model) if reduction.data else None
    shown = [sample.image for sample in labelled.samples] if labelled else []
    with scratch_folder() as folder:
        path = folder / f"float32{output.suffix}"
        inside = {name: value for name, value in options.items() if name not in OUTSIDE}
        write_model(model, Output(path), **{**inside, "check": False})
        whole = read_exported(ModelWords(str(path)))
        if reduction.int8:
            shown = calibration_pictures(model, reduction, pictures)
        write = write_smaller_litert if output.suffix == LITERT_SUFFIX else write_smaller_onnx
        write(model, output, whole, shown, reduction, options)
        other = read_exported(ModelWords(str(output.path)))
        sizes = (path.stat().st_size, written_size(output, external="external" in options))
        return report(whole, other, sizes, shown, labelled)


def write_smaller_onnx(
    model: Model,
    output: Output,
    whole: "ExportedFile",
    pictures: Sequence[Path],
    reduction: Reduction,
    options: Mapping[str, Any],
) -> None:
    """Write the ONNX file."""
    if reduction.int8:
        write_int8(whole, pictures, output.path, reduction, check=options.get("check", True))
    else:
        write_model(model, output, **options, fp16=True)
        warn_of_large_values(model, whole, pictures)


def write_smaller_litert(
    model: Model,
    output: Output,
    whole: "ExportedFile",
    pictures: Sequence[Path],
    reduction: Reduction,
    options: Mapping[str, Any],
) -> None:
    """Write the LiteRT file; in half precision its weights alone are float16."""
    if not reduction.int8:
        write_model(model, output, **options, precision="float16")
        return
    with progress(len(pictures), "calibrating on pictures") as update:
        inputs = Counted(Planes(whole, pictures), update)
        write_model(model, output, **options, precision="int8", inputs=inputs)


class Planes(Sequence[Any]):
    """Pictures as planes (C, H, W), read when they are asked for."""

    def __init__(self, file: "ExportedFile", pictures: Sequence[Path]) -> None:
        self._file = file
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, place: Any) -> Any:
        return planes_of(self._file, self._pictures[place])


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
    own = replace(pictures, rename=None) if reduction.data else pictures
    dataset = open_pictures(reduction.calibrate, own, model=model, uses_labels=False)
    readable = []
    for sample in dataset.samples:
        try:
            read_picture(sample.image, channels=shape.c, exact=False)
            readable.append(sample.image)
        except DatasetError as error:
            logger.warning("%s: left out", error)
    report_unread(dataset, len(dataset) - len(readable))
    return readable


def write_int8(
    whole: "ExportedFile",
    pictures: Sequence[Path],
    path: Path,
    reduction: Reduction,
    *,
    check: bool,
) -> None:
    """Write the 8-bit form of a float32 file; with `check` it is run first."""
    from darkconv.backends.onnx.quantization import Quantization, quantize_file

    given = {"method": reduction.calibration} if reduction.calibration else {}
    how = Quantization(reduce_range=reduction.reduce_range, **given)
    with progress(len(pictures), "calibrating on pictures") as update:
        inputs = Counted(GraphInputs(whole, pictures), update)
        quantize_file(whole.path, path, whole.network, inputs, how, check=check)


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


def warn_of_large_values(model: Model, whole: "ExportedFile", pictures: Sequence[Path]) -> None:
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
