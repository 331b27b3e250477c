"""export: a model as a file of another framework, or as a kit for a device or server."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from darkconv.arguments import checked
from darkconv.core.finite import check_kept
from darkconv.core.model import Model
from darkconv.dataset.sample import Dataset
from darkconv.errors import DarkconvError
from darkconv.exporting.kits.writing import check_kit, write_kit
from darkconv.exporting.writing import Exported, check_options, write_checked
from darkconv.files import PathLike
from darkconv.loading.saving import WRITE_NONFINITE
from darkconv.verification.precision import Progress, silent

OF_KITS = {"ort_web": "browser"}
"""Options of kits alone."""


@checked
def export(
    model: Model,
    path: PathLike,
    *,
    kit: Literal[
        "opencv", "triton", "deepstream", "frigate", "browser", "openvino", "ncnn", "coreml"
    ]
    | None = None,
    ort_web: PathLike | None = None,
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
    int8_form: Literal["asymmetric", "symmetric", "full"] | None = None,
    min_agreement: float | None = None,
    data: Dataset | PathLike | Sequence[PathLike] | None = None,
    check: bool | None = None,
    compare: bool | None = None,
    allow_nonfinite: bool = False,
) -> Exported:
    """Write a model as a file of another framework, or as a kit for a device or server.

    The suffix of the path says which format: `.onnx`, `.keras`, `.savedmodel` (a folder),
    `.tflite`, `.safetensors` and `.pt2` are known. With `kit` the path is a folder. What is None
    has the format's default, or the kit's.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> dc.export(model, "net.onnx", head="boxes", dynamic="batch").checked
        'run once in onnxruntime'

    Args:
        model: what to write.
        path: the file; with `kit` the folder, which is made, or replaced if it is a kit that
            nobody has changed.
        kit: name of what takes the folder as it is. A kit decides about some options, such as
            `layout`, and has most others of ONNX.
        ort_web: folder with onnxruntime-web's files, of its npm package. Kit browser.
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
            "symmetric" ones, about zero, which TensorRT reads. ONNX. "full": whole numbers alone,
            from input to outputs, for one picture, as the Edge TPU and microcontrollers need them;
            the default head is then "logits", and "raw" the other one. LiteRT.
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
        "data": data, "check": check, "compare": compare, "ort_web": ort_web,
    }  # fmt: skip
    given = {name: value for name, value in values.items() if value is not None}
    check_export(model, Path(path), kit, given)
    check_kept(model, str(path), allow_nonfinite=allow_nonfinite, remedy=WRITE_NONFINITE)
    written = write_export(model, Path(path), kit, given)
    if written.fault:
        raise written.fault
    return written


def check_export(model: Model, path: Path, kit: str | None, given: Mapping[str, Any]) -> None:
    """Raise for what `write_export` would fail with, before anything runs.

    Args:
        model: that is to be written.
        path: of the file, or of the kit's folder.
        kit: its name; None for a file.
        given: options of `export`, by their names.

    Raises:
        DarkconvError: as `check_options` or `check_kit` raises it.
    """
    if kit is None:
        for name in given.keys() & OF_KITS.keys():
            raise DarkconvError(f"{name} is about the kit {OF_KITS[name]}")
        check_options(model, path, given)
    else:
        check_kit(model, path, kit, given)


def write_export(
    model: Model,
    path: Path,
    kit: str | None,
    given: Mapping[str, Any],
    *,
    progress: Progress = silent,
) -> Exported:
    """Write a file or a kit; what is wrong with it is told by `Exported.fault`.

    Args:
        model: what to write.
        path: of the file, or of the kit's folder.
        kit: its name; None for a file.
        given: options of `export`, by their names.
        progress: shows how far long steps are.
    """
    if kit is None:
        return write_checked(model, path, given, progress=progress)
    return write_kit(model, path, kit, given, progress=progress)
