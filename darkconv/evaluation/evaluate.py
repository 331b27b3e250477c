"""Measure a model, or a file exported from one, on labelled pictures: `darkconv.evaluate`."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from darkconv.arguments import checked
from darkconv.backends.choices import backend_of_model
from darkconv.backends.exported import ExportedFile
from darkconv.core.bounds import require_share
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process, working_together
from darkconv.dataset import ClassifiedDataset, Dataset
from darkconv.dataset.for_model import (
    named_model,
    open_classes,
    open_for_model,
    with_all_classes,
)
from darkconv.detection.engine import make_engine, open_runnable
from darkconv.detection.exported import least_threshold
from darkconv.detection.stream import check_batches
from darkconv.errors import DarkconvError, DatasetError
from darkconv.evaluation.classifiers import evaluate_classifier, scores_of
from darkconv.evaluation.coco import require_coco
from darkconv.evaluation.comparison import rule_of
from darkconv.evaluation.detectors import AT, IOU, THRESHOLD, evaluate_detector
from darkconv.evaluation.result import Evaluation
from darkconv.evaluation.sharing import BATCH, RunSettings
from darkconv.files import PathLike
from darkconv.files.notice import tell, telling_once

RUNNERS = {
    "torch": "PyTorch",
    "keras": "Keras",
    "onnx": "onnxruntime",
    "tflite": "LiteRT",
    "onnxruntime": "onnxruntime",
    "openvino": "OpenVINO",
    "openvino:bf16": "OpenVINO in bfloat16",
}
"""Name of the program that runs a backend's networks, a suffix's files, or a chosen runtime."""
Labelled = Dataset | ClassifiedDataset | PathLike | Sequence[PathLike]


@checked
def evaluate(
    model: Model | ExportedFile | PathLike,
    dataset: Labelled,
    rule: Literal["voc", "darknet", "continuous"] = "voc",
    iou: float = IOU,
    *,
    at: float = AT,
    threshold: float | None = None,
    nms: float | None = None,
    nms_kind: str | None = None,
    resize: str | None = None,
    backend: Literal["torch", "onnx", "keras"] | None = None,
    device: str = "auto",
    threads: int | None = None,
    runtime: Literal["onnxruntime", "openvino", "openvino:bf16"] | None = None,
    batch: int = BATCH,
    exact: bool = False,
    coco: bool = True,
    unreadable: Literal["skip", "raise"] = "skip",
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Measure a model on labelled pictures: average precision (AP) of each class.

    Labels of classes that the model only spells differently count as its own. Labels of classes
    that it does not have are left out; this is reported once and stands in the result. For a
    classifier top-1 and top-5 accuracy are measured. Under torchrun, or in a process group of
    PyTorch, the processes share the pictures, and each gets the whole result: all of them must
    call this.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_folder
        >>> folder = digits10_folder()
        >>> model = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
        >>> result = dc.evaluate(model, folder / "digits10.data")
        >>> result.mean.ap > 0.99
        True

    Args:
        model: a Model, or a file that darkconv has written: .onnx, .tflite, .keras or
            .safetensors.
        dataset: labelled pictures: a data set, or any source that `open_dataset` takes; for a
            classifier what `open_classified` takes.
        rule: the rule by which boxes are compared: "voc" counts whole pixels, the others do not;
            "darknet" also applies NMS to boxes relative to the picture, as `detector map` does.
        iou: intersection over union (IoU) from which a detection is right, 0..1.
        at: score above which detections count for precision, recall, the confusion matrix and
            `ap_at`, 0..1.
        threshold: lowest score that counts; by default 0.005, or the constant of an ONNX file.
        nms: IoU above which non-maximum suppression (NMS) removes the box of lower score; by
            default 0.45, or the value in an ONNX file.
        nms_kind: see `darkconv.detect`.
        resize: "stretch" or "letterbox"; by default the file, or the dialect and `letter_box=`,
            decide.
        backend: the framework that runs a Model: "torch" (the default), "onnx" or "keras".
        device: "auto" takes a GPU where there is one; see `darkconv.Detector`.
        threads: number of threads on the CPU; see `darkconv.Detector`.
        runtime: the program that runs an ONNX graph; see `darkconv.Detector`.
        batch: number of pictures that run together.
        exact: decode JPEG files to the levels of a Darknet that was built without OpenCV.
        coco: compute COCO's figures too, which needs faster-coco-eval.
        unreadable: "skip" counts the boxes of pictures that cannot be read as missed, warns of
            each and lists them in `unread`; "raise" stops at the first.
        progress: called with the number of pictures that are done.

    Returns:
        An `Evaluation`: `.mean` and each of `.classes` have `.ap`, `.ap11`, `.coco50`, `.coco` in
        0..1 and `.boxes`, None where not measured; `.to_dict()`, `.report("page.html")`.

    Raises:
        DatasetError: the source cannot be read, no picture can, or no label is of a class of
            the model.
        DarkconvError: a file cannot do what is asked for, or nothing can be measured because the
            network's outputs are NaN.
        MissingDependencyError: faster-coco-eval is not installed.
    """
    for_boxes = {
        "rule": (rule, "voc"),
        "iou": (iou, IOU),
        "at": (at, AT),
        "threshold": (threshold, None),
        "nms": (nms, None),
        "nms_kind": (nms_kind, None),
        "resize": (resize, None),
    }
    _check(rule, iou, at, threshold, batch, unreadable)
    opened = _opened(model, backend, device, threads, runtime)
    with telling_once(), working_together() as processes:
        run = RunSettings(
            name=_name_of(opened),
            runner=runner_of(opened, backend, runtime),
            batch=batch,
            skips=unreadable == "skip",
            progress=progress,
            processes=processes,
        )
        if not opened.network.finds_boxes:
            _check_is_classifier(opened, for_boxes)
            pictures, size = _classified(opened, dataset), _input_size(opened)
            running: dict[str, Any] = {
                "device": device,
                "threads": threads,
                "runtime": runtime,
            }
            scores = scores_of(opened, backend, **running)
            return evaluate_classifier(scores, pictures, size, run, exact=exact)
        if coco:
            require_coco()
        labelled = _labelled(opened, dataset)
        opened = named_model(opened, labelled)
        engine = make_engine(
            opened,
            threshold=_least(opened) if threshold is None else threshold,
            nms=nms,
            nms_kind=nms_kind,
            resize=resize,
            backend=backend,
            device=device,
            threads=threads,
            runtime=runtime,
            exact=exact,
            relative=rule == "darknet",
        )
        return evaluate_detector(
            engine, opened, labelled, run, rule=rule, iou=iou, at=at, coco=coco
        )


def _check(
    rule: str, iou: float, at: float, threshold: float | None, batch: int, unreadable: str
) -> None:
    """Check the settings.

    Raises:
        DarkconvError: a setting has a value that is not allowed.
    """
    rule_of(rule, iou)
    require_share("at", at)
    if threshold is not None and at < threshold <= 1:
        raise DarkconvError(
            "at",
            expected=f"{threshold:g} or more: what scores less than the threshold does not count",
            found=at,
        )
    check_batches(batch, unreadable)


def _check_is_classifier(
    model: Model | ExportedFile, for_boxes: Mapping[str, tuple[object, object]]
) -> None:
    """Check that no option about boxes was changed from its default.

    Raises:
        DarkconvError: one was.
    """
    given = [name for name, (value, default) in for_boxes.items() if value != default]
    if given:
        raise DarkconvError(
            f"{' and '.join(given)} would do nothing: {model.network.file} is a classifier, which "
            "finds no boxes"
        )


def _input_size(model: Model | ExportedFile) -> tuple[int, int, int]:
    shape = model.network.input_shape
    return shape.c, shape.h, shape.w


def runner_of(model: Model | ExportedFile, backend: str | None, runtime: str | None = None) -> str:
    """Return the name of the program that runs a model, such as "PyTorch".

    Args:
        model: a model, or an exported file.
        backend: framework that runs a model; None for the default.
        runtime: program that runs an ONNX graph; None for the default.
    """
    if isinstance(model, Model):
        own = backend_of_model(backend, runtime)
    else:
        own = Path(model.path).suffix[1:]
        runtime = runtime or getattr(model.run, "runtime", None)
    return RUNNERS[runtime or own]


def _name_of(model: Model | ExportedFile) -> str:
    return Path(model.network.file if isinstance(model, Model) else model.path).stem


def _classified(model: Model | ExportedFile, dataset: Labelled) -> ClassifiedDataset:
    """Return the pictures for a classifier; a source is opened."""
    if isinstance(dataset, Dataset):
        raise DatasetError(
            f"{dataset.source}: a classifier is measured on pictures with classes, not with boxes"
        )
    if isinstance(dataset, ClassifiedDataset):
        return with_all_classes(dataset, model)
    return open_classes(_one_source(dataset), model)


def _one_source(dataset: PathLike | Sequence[PathLike]) -> PathLike:
    if isinstance(dataset, str | os.PathLike):
        return dataset
    if len(dataset) != 1:
        raise DatasetError("a classifier's pictures come from one source")
    return dataset[0]


def _labelled(model: Model | ExportedFile, dataset: Labelled) -> Dataset:
    """Return the data set for a detector; a source is opened."""
    if isinstance(dataset, ClassifiedDataset):
        raise DatasetError(
            f"{dataset.source}: a detector is measured on pictures with boxes, not with classes"
        )
    return dataset if isinstance(dataset, Dataset) else open_for_model(dataset, model)


def _opened(
    model: Model | ExportedFile | PathLike,
    backend: str | None,
    device: str,
    threads: int | None,
    runtime: str | None,
) -> Model | ExportedFile:
    """Return a model, or a file that is ready to run."""
    if isinstance(model, Model | ExportedFile):
        return model
    return open_runnable(model, backend=backend, device=device, threads=threads, runtime=runtime)


def _least(file: Model | ExportedFile) -> float:
    """Return the lowest score, at least `THRESHOLD`, from which the model or file gives boxes."""
    if isinstance(file, Model):
        return THRESHOLD
    least = least_threshold(file, THRESHOLD)
    if least > THRESHOLD and is_first_process():
        tell(
            f"{file.path}: has no detections below {least:g}, which a constant of the graph says; "
            "AP would count more of them (convert with --head boxes, or with --threshold-inputs)"
        )
    return least
