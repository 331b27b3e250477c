"""Files in half precision and in 8 bits, written beside their float32 form and compared with it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.backends import trace
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Array, Model
from darkconv.dataset.for_model import open_for_model
from darkconv.dataset.sample import Dataset
from darkconv.dataset.telling import report_unread
from darkconv.errors import DarkconvError, DatasetError, followed
from darkconv.exporting.formats import size_of, write_file, written_files
from darkconv.files import PathLike, scratch_folder
from darkconv.loading import open_exported
from darkconv.loading.formats import LITERT_SUFFIX, suffix_of
from darkconv.pictures.picture import read_picture
from darkconv.verification.precision import (
    NOISE,
    FilePrecision,
    GraphInputs,
    Planes,
    Progress,
    compare_precision,
    planes_of,
    silent,
    spread,
)

logger = logging.getLogger("darkconv")

OUTSIDE = ("external", "in_place")
"""Options of files whose weights lie elsewhere."""
Pictures = Dataset | PathLike | Sequence[PathLike]


@dataclass(frozen=True, kw_only=True)
class Reduction:
    """How numbers are made smaller.

    Attributes:
        fp16: half precision.
        int8: 8 bits.
        calibrate: pictures by which the 8-bit numbers are chosen.
        calibration: method by which they are; None for the default.
        reduce_range: weights in 7 bits.
        data: labelled pictures for AP.
    """

    fp16: bool = False
    int8: bool = False
    calibrate: Pictures | None = None
    calibration: str | None = None
    reduce_range: bool = False
    data: Pictures | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Reduction":
        """Return what is said of it among the options of a file."""
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in given.items() if name in names})

    @property
    def kind(self) -> str:
        """Either "float16" or "int8"; nothing where numbers stay as they are."""
        return "int8" if self.int8 else "float16" if self.fp16 else ""


def write_smaller(
    model: Model,
    path: Path,
    how: Reduction,
    options: Mapping[str, Any],
    *,
    compare: bool,
    progress: Progress = silent,
) -> FilePrecision | None:
    """Write a file in half precision or 8 bits, and compare it with its float32 form.

    Args:
        model: what to write.
        path: the file, ONNX or LiteRT.
        how: the numbers are made smaller.
        options: of the format: see `write_file`.
        compare: write the float32 form too where it is not needed for writing, and compare.
        progress: shows how far a step is.

    Returns:
        How the file compares; None without comparison.

    Raises:
        DarkconvError: the network takes no pictures, by which 8-bit numbers are chosen, or the file
            cannot be written.
        DatasetError: no picture can be read.
    """
    if not (compare or how.int8):
        _write_half(model, path, options)
        return None
    labelled = open_pictures(how.data, model) if how.data is not None else None
    shown = [sample.image for sample in labelled.samples] if labelled else []
    with scratch_folder() as folder:
        plain = folder / f"float32{path.suffix.lower()}"
        inside = {name: value for name, value in options.items() if name not in OUTSIDE}
        write_file(model, plain, **{**inside, "check": False})
        whole = open_exported(plain)
        if how.int8:
            shown = calibration_pictures(model, how.calibrate, progress)
            _write_8_bits(model, path, whole, shown, how, options, progress)
        else:
            _write_half(model, path, options)
            if suffix_of(path) != LITERT_SUFFIX:
                warn_of_large_values(model, whole, shown)
        if not compare:
            return None
        files = written_files(path, external=bool(options.get("external")))
        sizes = plain.stat().st_size, sum(map(size_of, files))
        return compare_precision(
            whole, open_exported(path), sizes, shown, labelled, progress=progress
        )


def _write_half(model: Model, path: Path, options: Mapping[str, Any]) -> None:
    """Write the file; of a LiteRT file the weights alone are float16."""
    is_litert = suffix_of(path) == LITERT_SUFFIX
    more = {"precision": "float16"} if is_litert else {"fp16": True}
    write_file(model, path, **options, **more)


def _write_8_bits(
    model: Model,
    path: Path,
    whole: ExportedFile,
    pictures: Sequence[Path],
    how: Reduction,
    options: Mapping[str, Any],
    progress: Progress,
) -> None:
    with progress(len(pictures), "calibrating on pictures") as update:
        if suffix_of(path) == LITERT_SUFFIX:
            inputs = Counted(Planes(whole, pictures), update)
            write_file(model, path, **options, precision="int8", inputs=inputs)
            return
        from darkconv.backends.onnx.quantization import Quantization, quantize_file

        method = {"method": how.calibration} if how.calibration else {}
        settings = Quantization(reduce_range=how.reduce_range, **method)
        graph = Counted(GraphInputs(whole, pictures), update)
        check = options.get("check", True)
        quantize_file(whole.path, path, whole.network, graph, settings, check=check)


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


def open_pictures(source: Pictures, model: Model, *, uses_labels: bool = True) -> Dataset:
    """Return a data set, opened for a model where it is a source."""
    if isinstance(source, Dataset):
        return source
    return open_for_model(source, model, uses_labels=uses_labels)


def calibration_pictures(
    model: Model, source: Pictures | None, progress: Progress = silent
) -> list[Path]:
    """Return the pictures for the choice of 8-bit numbers; broken ones are told and left out.

    Raises:
        DarkconvError: the network takes no pictures.
        DatasetError: none can be read.
    """
    shape = model.network.input_shape
    if not shape.is_map or source is None:
        raise DarkconvError(
            f"{model.network.file}: takes no pictures, by which 8-bit numbers are chosen"
        )
    dataset = open_pictures(source, model, uses_labels=False)
    readable = []
    for sample in dataset.samples:
        try:
            read_picture(sample.image, channels=shape.c)
            readable.append(sample.image)
        except DatasetError as error:
            logger.warning("%s", followed(error, ": left out"))
    report_unread(dataset, len(dataset) - len(readable))
    return readable


def warn_of_large_values(model: Model, whole: ExportedFile, pictures: Sequence[Path]) -> None:
    """Say which layers leave float16 on some of the pictures, or on noise.

    A CPU's runtime may compute in float32 in between, where a GPU's gives infinities.
    """
    shape = model.network.input_shape
    planes: list[Array] = [planes_of(whole, picture) for picture in spread(pictures)[:NOISE]]
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
