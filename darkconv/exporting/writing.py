"""export: a model as a file of another framework, and how it was checked."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from darkconv.arguments import checked
from darkconv.backends.layouts import NMS_OPS
from darkconv.core.finite import check_kept
from darkconv.core.model import Model
from darkconv.core.views import Shown, View
from darkconv.dataset.sample import Dataset
from darkconv.errors import DarkconvError, Where
from darkconv.exporting.eight_bits import Verdict
from darkconv.exporting.formats import (
    HEADS_BY_SUFFIX,
    OPTIONS_BY_SUFFIX,
    RUNNERS,
    size_of,
    unknown_format,
    write_file,
    written_files,
)
from darkconv.exporting.smaller import Reduction, write_smaller
from darkconv.files import PathLike
from darkconv.libraries import is_installed
from darkconv.loading.formats import LITERT_SUFFIX, suffix_of
from darkconv.loading.saving import WRITE_NONFINITE
from darkconv.verification.precision import (
    FileAgreement,
    FilePrecision,
    Progress,
    compare_with_model,
    silent,
)

logger = logging.getLogger("darkconv")

OF_INT8 = ("calibrate", "calibration", "reduce_range", "int8_form", "min_agreement")
OF_SMALLER = ("data",)
NOT_IN_8_BITS = ("fold", "external", "in_place")
OF_BOXES = ("threshold", "nms", "resize")
"""What a file says for those who look for boxes in pictures with it."""
RUNNING = ("int8", "data", "compare")
"""Options for which a file has to run here."""
SMALLER = ("fp16", "int8", *OF_INT8, *OF_SMALLER, "compare")
"""Options that say how numbers are made smaller, and how that is checked."""


@dataclass(frozen=True, repr=False)
class Exported(Shown):
    """What `export` has written.

    Attributes:
        files: the file that was asked for, and what lies beside it.
        size: bytes of all of them.
        checked: how the file was tried before it took its name; empty if it was not.
        precision: of a file in half precision or 8 bits: how it compares with float32.
        agreement: of a LiteRT file in float32: how it compares with the model.
        verdict: of an ONNX file that was to be in 8 bits: whether they are worth it. Where they
            are not, the file is in float32.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> written = dc.export(model, "digits10.onnx")
        >>> [file.name for file in written.files], written.checked
        (['digits10.onnx'], 'run once in onnxruntime')
    """

    files: tuple[Path, ...]
    size: int
    checked: str
    precision: FilePrecision | None = None
    agreement: FileAgreement | None = None
    verdict: Verdict | None = None

    def _view(self) -> View:
        """Return how it is shown."""
        from darkconv.exporting import views

        return View(views.as_text, views.as_html)

    @property
    def comparison(self) -> dict[str, Any]:
        """How a file in half precision or 8 bits compares with float32, for JSON."""
        compared = self.precision.to_dict() if self.precision else {}
        return {**compared, **({"verdict": self.verdict.to_dict()} if self.verdict else {})}

    @property
    def fault(self) -> DarkconvError | None:
        """What is wrong with the file that was written; None where nothing is."""
        where = Where(file=str(self.files[0]))
        is_float = self.verdict is not None and not self.verdict.is_kept
        found = self.precision
        fault = found and (found.likeness.fault if is_float else found.fault)
        if fault:
            return DarkconvError(f"was written, but {fault}", where=where)
        return self.agreement.fault if self.agreement else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {
            "files": list(map(str, self.files)),
            "size": self.size,
            "checked": self.checked,
            "precision": self.precision.to_dict() if self.precision else None,
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "verdict": self.verdict.to_dict() if self.verdict else None,
        }


@checked
def export(
    model: Model,
    path: PathLike,
    *,
    head: Literal["raw", "logits", "boxes", "nms"] | None = None,
    layout: Literal["split", "ultralytics", "deepstream", "yolov4", "efficientnms"] | None = None,
    pixels: bool | None = None,
    threshold: float | None = None,
    nms: float | None = None,
    threshold_inputs: bool | None = None,
    max_detections: int | None = None,
    nms_op: Literal["onnx", "tensorrt"] | None = None,
    input: Literal["float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr"] | None = None,
    dynamic: str | Iterable[str] | None = None,
    fold: bool | None = None,
    fold_bn: bool | None = None,
    resize: Literal["stretch", "letterbox"] | None = None,
    opset: int | None = None,
    external: bool | None = None,
    in_place: bool | None = None,
    fp16: bool | None = None,
    int8: bool | None = None,
    calibrate: Dataset | PathLike | Sequence[PathLike] | None = None,
    calibration: Literal["mse", "percentile", "minmax", "entropy"] | None = None,
    reduce_range: bool | None = None,
    int8_form: Literal["asymmetric", "symmetric"] | None = None,
    min_agreement: float | None = None,
    data: Dataset | PathLike | Sequence[PathLike] | None = None,
    check: bool | None = None,
    compare: bool | None = None,
    allow_nonfinite: bool = False,
) -> Exported:
    """Write a model as a file of another framework; the suffix of the path says which.

    `.onnx`, `.keras`, `.savedmodel` (a folder), `.tflite`, `.safetensors` and `.pt2` are known.
    What is None has the format's default.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> dc.export(model, "net.onnx", head="boxes", dynamic="batch").checked
        'run once in onnxruntime'

    Args:
        model: what to write.
        path: the file.
        head: outputs as Darknet's heads give them ("raw", the default), what enters the heads
            ("logits"), boxes and scores, or, in ONNX, what is left of them after non-maximum
            suppression (NMS). PyTorch programs know the first two.
        layout: form of boxes and nms for the programs that read them: see `to_onnx`. ONNX.
        pixels: boxes in pixels of the input, not in 0..1. ONNX, with boxes and nms.
        threshold: least score, 0..1: a constant of the graph with nms, else what `detect` takes
            from the metadata. ONNX.
        nms: IoU of boxes that count as the same, 0..1, likewise.
        threshold_inputs: both are inputs of the graph, not constants. ONNX, with nms.
        max_detections: most per picture. ONNX, with nms.
        nms_op: what suppresses: "onnx" or "tensorrt", which TensorRT alone runs. ONNX, with nms.
        input: what pictures come as. ONNX.
        dynamic: axes of any length: "batch", "size", "batch,size" or "none". ONNX.
        fold: write batch norm into the weights (the default). ONNX.
        fold_bn: the same in Keras, where the default is not to.
        resize: how pictures will be fitted, which the file says.
        opset: version of ONNX's operators.
        external: weights in a file beside it, `net.onnx.data`. ONNX.
        in_place: weights where they are, in the model's .weights file. ONNX.
        fp16: half precision. ONNX and LiteRT.
        int8: 8 bits, but for heads and decoding. ONNX and LiteRT, with `calibrate`.
        calibrate: pictures such as the network will see, by which the 8-bit numbers are chosen: a
            data set, or any source that `open_dataset` takes.
        calibration: how ranges of values are chosen: "mse", "percentile", "minmax" or "entropy";
            by default the one of the first three that errs least at the outputs. ONNX.
        reduce_range: weights of 7 bits, for x86 CPUs without VNNI, where 8 overflow. ONNX.
        int8_form: "asymmetric" activations (the default), with which onnxruntime computes, or
            "symmetric" ones, about zero, which TensorRT reads. ONNX.
        min_agreement: least F1 of the 8-bit file's detections with those of the float32 file on
            the pictures of `calibrate`, or 1 less the relative error of outputs where there are
            no boxes, 0..1: layers that cost it stay in float32, by default until 0.97 holds, and
            where nothing is gained the whole file does. 0 takes 8 bits whatever they cost. ONNX.
        data: labelled pictures for AP before and after, with `fp16` and `int8`.
        check: run the file once before it takes its name (the default). ONNX and LiteRT.
        compare: with `fp16` and `int8`: write a float32 form too, and compare size, time, outputs,
            detections and AP (the default); of a LiteRT file in float32: compare it with the
            model (the default, unless `check` is False).
        allow_nonfinite: write arrays that hold NaN or infinity, and variances without a root, with
            a warning.

    Returns:
        What was written, how it was tried, and what the comparison gave.

    Raises:
        DarkconvError: an unknown suffix, an option that the format does not have, options that
            exclude each other, a file that cannot be written, does not run, or gives other numbers
            than it should.
        WeightsError: an array holds NaN or infinity, or a variance has no root.
        DatasetError: there is no picture to calibrate with.
        UnsupportedError: a layer that the framework cannot express.
        MissingDependencyError: the framework is not installed.
    """
    values = {
        "head": head, "layout": layout, "pixels": pixels, "threshold": threshold, "nms": nms,
        "threshold_inputs": threshold_inputs, "max_detections": max_detections, "nms_op": nms_op,
        "input": input, "dynamic": dynamic, "fold": fold, "fold_bn": fold_bn, "resize": resize,
        "opset": opset, "external": external, "in_place": in_place, "fp16": fp16, "int8": int8,
        "calibrate": calibrate, "calibration": calibration, "reduce_range": reduce_range,
        "int8_form": int8_form, "min_agreement": min_agreement,
        "data": data, "check": check, "compare": compare,
    }  # fmt: skip
    given = {name: value for name, value in values.items() if value is not None}
    check_options(model, Path(path), given)
    check_kept(model, str(path), allow_nonfinite=allow_nonfinite, remedy=WRITE_NONFINITE)
    written = write_checked(model, Path(path), given)
    if written.fault:
        raise written.fault
    return written


def write_checked(
    model: Model, path: Path, given: Mapping[str, Any], *, progress: Progress = silent
) -> Exported:
    """Write a file and check it: see `export`, whose options are given by their names.

    What is wrong with a file that was written is told by `Exported.fault`.

    Args:
        model: what to write.
        path: the file.
        given: options; those that are not there have the format's default.
        progress: shows how far long steps are.
    """
    check_options(model, path, given)
    plain = {name: value for name, value in given.items() if name not in SMALLER}
    how = Reduction.of(given)
    runs_here = given.get("nms_op", NMS_OPS[0]) == NMS_OPS[0]
    is_compared = given.get("compare", True) and _is_run(path) and runs_here
    precision = agreement = verdict = None
    missing = 0
    if how.kind and path.suffix.lower() in RUNNERS:
        precision, verdict = write_smaller(
            model, path, how, plain, compare=is_compared, progress=progress
        )
    else:
        missing = write_file(model, path, **plain)
        if suffix_of(path) == LITERT_SUFFIX and is_compared and given.get("check", True):
            agreement = compare_with_model(model, path)
    files = written_files(path, external=bool(given.get("external")))
    checked = _how_checked(path, missing) if given.get("check", True) else ""
    if not runs_here:
        checked = "not run: it suppresses by a plugin of TensorRT, and runs there alone"
        logger.warning("%s: was %s", path, checked)
    return Exported(files, sum(map(size_of, files)), checked, precision, agreement, verdict)


def check_options(model: Model, path: Path, given: Mapping[str, Any]) -> None:
    """Raise for options that would do nothing, or that do not go together.

    Args:
        model: that is to be written.
        path: whose suffix says the format.
        given: options, by their names.

    Raises:
        DarkconvError: there is one.
    """
    known = OPTIONS_BY_SUFFIX.get(suffix_of(path))
    if known is None:
        raise unknown_format(path)
    for name in given:
        if name not in known:
            raise DarkconvError(
                f"{path}: {name} is no option of {path.suffix} files",
                expected=", ".join(known) or "none",
            )
    network = model.network
    for name in OF_BOXES:
        if name in given and not network.finds_boxes:
            where = Where(file=network.config.file)
            raise DarkconvError(f"predicts no boxes, which {name} is about", where=where)
    if "compare" in given and not (_is_smaller(given) or suffix_of(path) == LITERT_SUFFIX):
        raise DarkconvError(f"{path}: compare is about fp16, int8 and {LITERT_SUFFIX} files")
    _check_head(path, given)
    _check_smaller({name for name, value in given.items() if value is not False}, given)


def _check_head(path: Path, given: Mapping[str, Any]) -> None:
    heads = HEADS_BY_SUFFIX.get(suffix_of(path), ())
    if "head" in given and given["head"] not in heads:
        raise DarkconvError(
            f"{path}: head of {path.suffix} files", expected=", ".join(heads), found=given["head"]
        )


def _check_smaller(used: set[str], given: Mapping[str, Any]) -> None:
    if {"fp16", "int8"} <= used:
        raise DarkconvError("fp16 and int8 are two kinds of file: choose one")
    least = given.get("min_agreement", 0.0)
    if not 0 <= least <= 1:
        raise DarkconvError("min_agreement", expected="a number from 0 to 1", found=least)
    if "int8" in used and "calibrate" not in used:
        raise DarkconvError("int8 needs calibrate: pictures such as the network will see")
    for name in RUNNING:
        if name in used and given.get("nms_op", NMS_OPS[0]) != NMS_OPS[0]:
            raise DarkconvError(
                f"{name} and nms_op {given['nms_op']} exclude each other",
                hint=f"{name} runs the graph, which TensorRT alone can",
            )
    for names, kinds in ((OF_INT8, ("int8",)), (OF_SMALLER, ("fp16", "int8"))):
        for name in names:
            if name in used and not used & set(kinds):
                raise DarkconvError(f"{name} is about {' and '.join(kinds)}")
    for name in NOT_IN_8_BITS:
        if "int8" in used and name in given:
            raise DarkconvError(f"int8 and {name} exclude each other")


def _is_smaller(given: Mapping[str, Any]) -> bool:
    return bool(given.get("fp16") or given.get("int8"))


def _is_run(path: Path) -> bool:
    library, _ = RUNNERS.get(suffix_of(path), ("", ""))
    return bool(library) and is_installed(library)


def _how_checked(path: Path, missing: int) -> str:
    text = RUNNERS[suffix_of(path)][1] if _is_run(path) else ""
    return f"{text}: {missing:,} values are NaN" if missing else text
