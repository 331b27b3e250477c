"""The function `export`: a model as a file of another framework, or as a kit."""

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
"""Options that apply to one kit alone, with its name."""


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

    The suffix of the path names the format: `.onnx`, `.keras`, `.savedmodel` (a folder),
    `.tflite`, `.safetensors` or `.pt2`. With `kit` the path is a folder. An option that is None
    has the format's default, or the kit's.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> dc.export(model, "net.onnx", head="boxes", dynamic="batch").checked
        'run once in onnxruntime'

    Args:
        model: model to write.
        path: path of the file; with `kit` that of the folder, which is made, or replaced if it is
            a kit that nobody has changed.
        kit: name of the device or program that takes the folder as it is. A kit fixes some options,
            such as `layout`, and has most other options of ONNX.
        ort_web: folder with the files of onnxruntime-web's npm package. Kit browser.
        head: kind of outputs: activated heads as in Darknet ("raw", the default), the inputs of the
            heads ("logits"), boxes and scores ("boxes"), or, in ONNX, detections after non-maximum
            suppression ("nms"). PyTorch programs have the first two.
        layout: form of boxes and nms for the programs that read them: see `to_onnx`. ONNX.
        pixels: boxes in pixels of the input, not in 0..1. ONNX, with boxes and nms.
        threshold: least score, 0..1: a constant of the graph with nms, else the default of `detect`
            in the metadata. ONNX.
        nms: IoU above which two boxes are the same object, 0..1; stored like the threshold. ONNX.
        threshold_inputs: make both inputs of the graph instead of constants. ONNX, with nms.
        max_detections: most detections of a picture. ONNX, with nms.
        nms_op: operators that do NMS: "onnx", or "tensorrt", which runs in TensorRT alone. ONNX,
            with nms.
        input: dtype, layout and channel order of the input: see `to_onnx`. ONNX.
        dynamic: free axes of the input: "batch", "size", "batch,size" or "none". ONNX.
        fold: fold batch norm into weights and biases (the default). ONNX.
        fold_bn: the same in Keras, where it is not the default.
        resize: how pictures will be fitted to the input; it is written to the metadata.
        opset: version of ONNX's operators.
        external: weights in a file beside it, `net.onnx.data`. ONNX.
        in_place: weights stay in the model's .weights file. ONNX.
        fp16: half precision. ONNX and LiteRT.
        int8: 8 bits, except for heads and decoding. ONNX and LiteRT, with `calibrate`.
        calibrate: calibration pictures, which must be like those in use: a data set, or any source
            that `open_dataset` takes.
        calibration: calibration method: "mse", "percentile", "minmax" or "entropy"; None tries the
            first three, and takes the one with the least error at the outputs. ONNX.
        reduce_range: weights in 7 bits, for x86 CPUs without VNNI, where 8 overflow. ONNX.
        int8_form: "asymmetric" activations (the default), with which onnxruntime computes, or
            "symmetric" ones, which TensorRT reads. ONNX. "full": integers alone, from input to
            outputs, for one picture, as the Edge TPU and microcontrollers need them; the head is
            then "logits" (the default) or "raw". LiteRT.
        min_agreement: least agreement of the 8-bit file with the float32 file on the calibration
            pictures, 0..1: the F1 of detections, or without boxes 1 less the relative error of the
            outputs. The default is 0.97. Layers stay in float32 until it is reached, and the whole
            file does where nothing is gained. 0 accepts 8 bits in any case. ONNX.
        data: labelled pictures for AP before and after, with `fp16` and `int8`.
        check: run the file once before it gets its name (the default). ONNX and LiteRT.
        compare: with `fp16` and `int8`: write a float32 form too, and compare size, time, outputs,
            detections and AP (the default). For a LiteRT file in float32: compare it with the
            model (the default, unless `check` is False).
        allow_nonfinite: write arrays with NaN or infinity, and variances without a square root,
            with a warning.

    Returns:
        The files, how they were checked, and the result of the comparison.

    Raises:
        DarkconvError: an unknown suffix; an option that the format does not have; options that
            exclude each other; a file that cannot be written, does not run, or gives other numbers
            than it should.
        WeightsError: an array holds NaN or infinity, or a variance has no square root.
        DatasetError: there is no calibration picture.
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
    """Raise the errors of `write_export` that can be found before anything runs.

    Args:
        model: model to write.
        path: path of the file, or of the kit's folder.
        kit: name of the kit; None for a file.
        given: options of `export`, by name.

    Raises:
        DarkconvError: an option is wrong, or the folder cannot hold the kit.
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
    """Write a file or a kit; `Exported.fault` says what is wrong with the result.

    Args:
        model: model to write.
        path: path of the file, or of the kit's folder.
        kit: name of the kit; None for a file.
        given: options of `export`, by name.
        progress: shows the progress of long steps.

    Returns:
        What was written, with its checks and comparisons.

    Raises:
        DarkconvError: as in `export`.
    """
    if kit is None:
        return write_checked(model, path, given, progress=progress)
    return write_kit(model, path, kit, given, progress=progress)
