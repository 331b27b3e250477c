"""Files in half precision and 8 bits, which are written and compared with their float32 form."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.backends import trace
from darkconv.backends.choices import FULL, FULL_HEADS
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.dataset.for_model import open_for_model
from darkconv.dataset.sample import Dataset
from darkconv.dataset.telling import report_unread
from darkconv.errors import DarkconvError, DatasetError, followed
from darkconv.exporting.eight_bits import (
    MIN_AGREEMENT,
    QuantizationChoice,
    Verdict,
    choose_layers,
    judge,
)
from darkconv.exporting.formats import size_of, write_file, written_files
from darkconv.files import PathLike, scratch_folder, write_together
from darkconv.loading import open_exported
from darkconv.loading.formats import LITERT_SUFFIX, suffix_of
from darkconv.pictures.picture import read_picture
from darkconv.verification.precision import (
    NOISE,
    Counted,
    FilePrecision,
    Planes,
    Progress,
    compare_precision,
    planes_of,
    silent,
    spread,
)

logger = logging.getLogger("darkconv")

OUTSIDE = ("external", "in_place")
"""Options of files whose weights lie in another file."""
Pictures = Dataset | PathLike | Sequence[PathLike]


@dataclass(frozen=True, kw_only=True)
class PrecisionOptions:
    """Options of half precision and 8 bits.

    Attributes:
        fp16: True for half precision.
        int8: True for 8 bits.
        calibrate: calibration pictures.
        calibration: calibration method; None for the default.
        reduce_range: True for weights in 7 bits.
        int8_form: form of the activations: "asymmetric", "symmetric", or None for the former; for a
            LiteRT file "full": everything is in 8 bits.
        min_agreement: least F1 with the float32 file, 0..1; None for the default.
        data: labelled pictures for AP; None for no AP.
    """

    fp16: bool = False
    int8: bool = False
    calibrate: Pictures | None = None
    calibration: str | None = None
    reduce_range: bool = False
    int8_form: str | None = None
    min_agreement: float | None = None
    data: Pictures | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "PrecisionOptions":
        """Return the reduction that the options of a file ask for.

        Args:
            given: options of `export`, by name; others are ignored.
        """
        names = cls.__dataclass_fields__
        return cls(**{name: value for name, value in given.items() if name in names})

    @property
    def kind(self) -> str:
        """Return "float16" or "int8"; an empty string where numbers stay in float32."""
        return "int8" if self.int8 else "float16" if self.fp16 else ""


def write_smaller(
    model: Model,
    path: Path,
    how: PrecisionOptions,
    options: Mapping[str, Any],
    *,
    compare: bool,
    progress: Progress = silent,
) -> tuple[FilePrecision | None, Verdict | None]:
    """Write a file in half precision or 8 bits, and compare it with its float32 form.

    Args:
        model: model to write.
        path: path of the file, ONNX or LiteRT.
        how: options of half precision and 8 bits.
        options: other options of the format: see `write_file`.
        compare: compare with the float32 form, which is written for this if nothing else needs it.
        progress: shows the progress of a step.

    Returns:
        How the file compares with float32, or None without comparison; and whether 8 bits are worth
        it, for an ONNX file in 8 bits, or a LiteRT file in full 8 bits that was compared, else
        None. If they are not worth it, the ONNX file is in float32.

    Raises:
        DarkconvError: the network takes no pictures to calibrate with, or the file cannot be
            written.
        DatasetError: no picture can be read.
    """
    if not (compare or how.int8):
        _write_half(model, path, options)
        return None, None
    labelled = open_pictures(how.data, model) if how.data is not None else None
    shown = [sample.image for sample in labelled.samples] if labelled else []
    with scratch_folder() as folder:
        plain = folder / f"float32{path.suffix.lower()}"
        inside = {name: value for name, value in options.items() if name not in OUTSIDE}
        if how.int8_form == FULL:
            inside["head"] = "raw"
        write_file(model, plain, **{**inside, "check": False})
        whole = open_exported(plain)
        if how.int8:
            shown = calibration_pictures(model, how.calibrate)
            if suffix_of(path) != LITERT_SUFFIX:
                compared = Compared(whole, shown, labelled, compare, progress)
                return _write_8_bits(model, path, how, options, compared, folder)
            in_full = full_options(model.network) if how.int8_form == FULL else {}
            with progress(len(shown), "calibrating on pictures") as update:
                inputs = Counted(Planes(whole, shown), update)
                given = {**in_full, **options, "precision": "int8", "inputs": inputs}
                write_file(model, path, **given)
        else:
            _write_half(model, path, options)
            if suffix_of(path) != LITERT_SUFFIX:
                warn_of_large_values(model, whole, shown)
        if not compare:
            return None, None
        files = written_files(path, external=bool(options.get("external")))
        sizes = plain.stat().st_size, sum(map(size_of, files))
        other = open_exported(path)
        found = compare_precision(model, whole, other, sizes, shown, labelled, progress=progress)
        if how.int8_form != FULL:
            return found, None
        choice = QuantizationChoice(path, (), (), is_empty=False)
        return found, judge(found, choice, model.network, wanted=MIN_AGREEMENT, form=FULL)


def full_options(network: Network) -> dict[str, str]:
    """Return the default options of a LiteRT file in full 8 bits.

    The file ends before the heads if these are the network's outputs. In 8 bits the least sigmoid
    above 0 would be about 1/512, and boxes would share one scale with scores.

    Args:
        network: network of the model.
    """
    ends_in_heads = [layer.index for layer in network.heads] == list(network.outputs)
    head = FULL_HEADS[0] if network.heads and ends_in_heads else "raw"
    return {"int8_form": FULL, "head": head}


def _write_half(model: Model, path: Path, options: Mapping[str, Any]) -> None:
    """Write the file in half precision; in a LiteRT file only the weights are float16."""
    is_litert = suffix_of(path) == LITERT_SUFFIX
    more = {"precision": "float16"} if is_litert else {"fp16": True}
    write_file(model, path, **options, **more)


@dataclass(frozen=True)
class Compared:
    """What a file is compared with, and how.

    Attributes:
        whole: the float32 file.
        pictures: paths of the pictures for the comparison.
        labelled: labelled pictures for AP; None for no AP.
        is_wanted: True if the user wants to see the comparison.
        progress: shows the progress of a step.
    """

    whole: ExportedFile
    pictures: Sequence[Path]
    labelled: Dataset | None
    is_wanted: bool
    progress: Progress


def _write_8_bits(
    model: Model,
    path: Path,
    how: PrecisionOptions,
    options: Mapping[str, Any],
    beside: Compared,
    folder: Path,
) -> tuple[FilePrecision | None, Verdict]:
    """Write an ONNX file in 8 bits, or in float32 where 8 bits are not worth it."""
    from darkconv.backends.onnx.quantization import Quantization
    from darkconv.backends.onnx.writing import OnnxTrial

    settings = Quantization(
        method=how.calibration,
        reduce_range=how.reduce_range,
        form=how.int8_form or "asymmetric",
    )
    wanted = MIN_AGREEMENT if how.min_agreement is None else how.min_agreement
    whole, shown, progress = beside.whole, beside.pictures, beside.progress
    of_graph = {name: value for name, value in options.items() if name != "check"}
    choice = choose_layers(
        model, whole, shown, settings, of_graph, folder, wanted=wanted, progress=progress
    )
    sizes = Path(whole.path).stat().st_size, choice.path.stat().st_size
    labelled = beside.labelled if beside.is_wanted else None
    found = compare_precision(
        model, whole, open_exported(choice.path), sizes, shown, labelled, progress=progress
    )
    verdict = judge(found, choice, model.network, wanted=wanted, form=settings.form)
    if verdict.is_kept:
        trial = OnnxTrial(path, model.network) if options.get("check", True) else None
        write_together({path: [choice.path.read_bytes()]}, check=trial)
    else:
        write_file(model, path, **options)
    return found if beside.is_wanted else None, verdict


def open_pictures(source: Pictures, model: Model, *, uses_labels: bool = True) -> Dataset:
    """Return a data set; a source is opened for the model.

    Args:
        source: data set, or source that `open_dataset` takes.
        model: model whose class names and input the data set is for.
        uses_labels: True if the labels will be read.
    """
    if isinstance(source, Dataset):
        return source
    return open_for_model(source, model, uses_labels=uses_labels)


def calibration_pictures(model: Model, source: Pictures | None) -> list[Path]:
    """Return the paths of the calibration pictures; broken ones are reported and skipped.

    Args:
        model: model whose network takes the pictures.
        source: data set, or source that `open_dataset` takes.

    Raises:
        DarkconvError: the network takes no pictures.
        DatasetError: no picture can be read.
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
    """Log a warning for each layer that leaves the range of float16 on some pictures, or on noise.

    The runtime of a CPU may compute in float32 in between, where that of a GPU gives infinity.

    Args:
        model: model to run in float32.
        whole: its float32 file, which says how pictures are fitted.
        pictures: paths of pictures, of which a few are used; noise is used if there are none.
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
