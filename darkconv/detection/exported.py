"""Find objects with a file that darkconv has exported, as `detect` does with a model.

The file itself states its inputs and outputs, so nothing else is needed.
"""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.backends.choices import BGR
from darkconv.backends.exported import ExportedFile
from darkconv.backends.layouts import (
    BEST,
    CENTRES,
    CONFIDENCES,
    CORNERS,
    COUNT,
    LABEL,
    NMS_OPS,
    PIXELS,
    SCORES,
)
from darkconv.boxes import as_centres, as_corners
from darkconv.core.model import Array
from darkconv.detection.decode import Candidates, input_size
from darkconv.detection.detect import (
    Detection,
    check_thresholds,
    detections,
    named,
    remaining,
)
from darkconv.detection.engine import BaseEngine, run_in_pieces
from darkconv.detection.suppress import check_kind
from darkconv.errors import DarkconvError, Where
from darkconv.layers.box_heads import box_outputs, scored_classes
from darkconv.loading.exported import refuse_runtime
from darkconv.pictures.picture import PictureFit, PictureLike

SAME = 1e-6  # thresholds that differ by less than this are equal


class FileEngine(BaseEngine):
    """An `Engine` that runs an exported file; the file's own settings are the defaults.

    Attributes:
        file: the opened file.
        threshold: the score threshold.
        nms: the overlap threshold of non-maximum suppression.
        nms_kind: the kind of suppression; None for the cfg's.
        relative: see `darkconv.detection.detect.remaining`.
    """

    def __init__(
        self,
        file: ExportedFile,
        threshold: float | None = None,
        nms: float | None = None,
        *,
        nms_kind: str | None = None,
        resize: str | None = None,
        device: str = "auto",
        threads: int | None = None,
        runtime: str | None = None,
        exact: bool = False,
        relative: bool = False,
    ) -> None:
        """Take the options of `make_engine`, and raise the same errors.

        A file that was opened for another device, runtime or number of threads is opened again.
        """
        super().__init__(file, resize=resize or file.resize, exact=exact)
        least, overlap = graph_thresholds(file)
        self.threshold = least if threshold is None else threshold
        self.nms = overlap if nms is None else nms
        self.nms_kind = nms_kind
        self.relative = relative
        check_thresholds(self.threshold, self.nms)
        check_kind(nms_kind)
        self.file = on_device(file, device, threads, runtime)
        CHECKS[file.head](self)
        kind = Path(file.path).suffix.lower()
        is_shared = kind == ".onnx" and not self.keeps_state
        self._lock = contextlib.nullcontext() if is_shared else threading.Lock()
        self._place = device if kind == ".keras" else "auto"

    def prepare(self, picture: PictureLike) -> tuple[npt.NDArray[Any], PictureFit]:
        """Return the graph's input for a picture, (1, ...), and the picture's geometry in it."""
        planes, fit = self.fitted(picture)
        x, _ = as_input(self.file, planes)
        return x, fit

    def run(self, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the graph's outputs for inputs of any number of pictures.

        Args:
            x: (N, ...) inputs as `prepare` makes them.

        Returns:
            One array (N, ...) for each output.
        """
        inputs = self.file.threshold_inputs(self.threshold, self.nms)
        size = 1 if self.keeps_state else self.file.fixed_batch
        with self._lock, self._on_device():
            return run_in_pieces(lambda piece: self.file.run(piece, **inputs), x, size)

    def find(self, outputs: Sequence[npt.NDArray[Any]], fit: PictureFit) -> list[Detection]:
        """Return the detections in one picture, best first.

        Args:
            outputs: the outputs for the picture, without a batch axis.
            fit: the picture's geometry in the network input.
        """
        return FINDERS[self.file.head](self, outputs, fit)

    def _on_device(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which Keras computes on the wanted device."""
        if self._place == "auto":
            return contextlib.nullcontext()
        scope: contextlib.AbstractContextManager[Any] = spoke("keras").on_device(self._place)
        return scope


def on_device(
    file: ExportedFile, device: str, threads: int | None, runtime: str | None = None
) -> ExportedFile:
    """Return a file that computes on a device with a number of threads, opened again if need be.

    Args:
        file: the opened file, with the device that it was opened for.
        device: the device: see `darkconv.Detector`.
        threads: the number of CPU threads; None leaves it.
        runtime: the runtime of an ONNX file: see `darkconv.Detector`; None for the one that it was
            opened with.

    Raises:
        DarkconvError: the library that runs the file does not support this.
    """
    kind = Path(file.path).suffix.lower()
    if kind == ".onnx":
        return _onnx_on_device(file, device, threads, runtime)
    refuse_runtime(file.path, runtime)
    where = Where(file=file.path)
    if kind == ".keras":
        spoke("keras").on_device(device)
        if threads is not None:
            expected = "None: what Keras runs on has its own setting"
            raise DarkconvError("threads", where=where, expected=expected, found=threads)
        return file
    if device not in ("auto", "cpu"):
        expected = "auto or cpu, on which LiteRT computes"
        raise DarkconvError("device", where=where, expected=expected, found=device)
    if threads is None:
        return file
    opened = spoke("keras").read_litert(file.path, threads=threads)
    return replace(file, run=opened.run)


def _onnx_on_device(
    file: ExportedFile, device: str, threads: int | None, runtime: str | None
) -> ExportedFile:
    run: Any = file.run
    has_device = device in ("auto", run.device) and threads in (None, run.threads)
    if has_device and runtime in (None, run.runtime):
        return file
    is_moved = runtime not in (None, run.runtime)
    device = run.device if device == "auto" and not is_moved else device
    opened = spoke("onnx").read_onnx(
        file.path,
        shares_processors=True,
        device=device,
        threads=threads,
        runtime=runtime or run.runtime,
    )
    return replace(file, run=opened.run)


def graph_thresholds(file: ExportedFile) -> tuple[float, float]:
    """Return the score threshold and the overlap threshold with which a file was exported.

    Args:
        file: the opened file, whose metadata state them.
    """
    return float(file.metadata["threshold"]), float(file.metadata["nms"])


def least_threshold(file: ExportedFile, wanted: float) -> float:
    """Return the lowest score threshold, not below a wanted one, that a file supports.

    Args:
        file: the opened file, whose graph may have a fixed threshold.
        wanted: the score threshold that is wanted.
    """
    if file.head != "nms" or file.has_threshold_inputs:
        return wanted
    return max(wanted, graph_thresholds(file)[0])


def as_input(file: ExportedFile, planes: Array) -> tuple[npt.NDArray[Any], Array]:
    """Return a network input in the form that the graph takes, and the values that it then has.

    Args:
        file: the opened file; if it takes uint8 levels, the input is rounded to them.
        planes: float32 (C, H, W) in 0..1, or (inputs,).

    Returns:
        The graph's input, (1, ...), and the float32 input (C, H, W) after rounding.
    """
    kind = file.takes
    if "nhwc" not in kind:
        return planes[None], planes
    if not kind.startswith("uint8"):
        return np.ascontiguousarray(planes.transpose(1, 2, 0))[None], planes
    levels = np.rint(planes * 255).clip(0, 255).astype(np.uint8)
    pixels = levels.transpose(1, 2, 0)
    given = pixels[..., BGR[len(planes)]] if kind.endswith("bgr") else pixels
    return np.ascontiguousarray(given)[None], levels.astype(np.float32) / np.float32(255)


def find_in_raw(asked: FileEngine, outputs: Sequence[Array], fit: PictureFit) -> list[Detection]:
    """Return the detections that are decoded from raw head outputs, as for a model.

    Args:
        asked: the engine, with its options.
        outputs: the outputs for one picture, without a batch axis.
        fit: the picture's geometry in the network input.
    """
    return detections(
        asked.file,
        outputs,
        fit,
        threshold=asked.threshold,
        nms=asked.nms,
        nms_kind=asked.nms_kind,
        relative=asked.relative,
    )


def find_in_boxes(asked: FileEngine, outputs: Sequence[Array], fit: PictureFit) -> list[Detection]:
    """Return the detections that are left of the file's boxes after non-maximum suppression.

    Args:
        asked: the engine, with its options.
        outputs: the outputs for one picture, without a batch axis.
        fit: the picture's geometry in the network input.
    """
    parts = asked.file.taken_apart(outputs)
    scores = scores_of(asked.file, parts)
    is_kept = scores > np.float32(asked.threshold)
    found = Candidates(
        relative_boxes(asked.file, parts),
        np.ones(len(scores), np.float32),
        np.where(is_kept, parts.get(CONFIDENCES, scores), np.float32(0)),
    )
    return remaining(
        asked.file,
        found,
        fit,
        nms=asked.nms,
        nms_kind=asked.nms_kind,
        relative=asked.relative,
    )


def find_in_detections(
    asked: FileEngine, outputs: Sequence[npt.NDArray[Any]], fit: PictureFit
) -> list[Detection]:
    """Return the detections of a file whose graph includes non-maximum suppression.

    Args:
        asked: the engine, with its options.
        outputs: the outputs for one picture, without a batch axis.
        fit: the picture's geometry in the network input.
    """
    parts = asked.file.taken_apart(outputs)
    scores = parts[BEST]
    is_wanted = (np.arange(len(scores)) < parts[COUNT]) & (scores > np.float32(asked.threshold))
    boxes = relative_boxes(asked.file, {CORNERS: parts[CORNERS][is_wanted]})
    corners = as_corners(fit.to_pixels(boxes))
    return named(asked.file, parts[LABEL][is_wanted], scores[is_wanted], corners)


def check_objectness(asked: FileEngine) -> None:
    """Check that a file of boxes supports the kind of non-maximum suppression.

    Args:
        asked: the engine, with its options.

    Raises:
        DarkconvError: the kind "obj" needs objectness, which such a file does not have.
    """
    if asked.nms_kind == "obj":
        raise DarkconvError(
            "boxes have lost their objectness, which nms_kind=obj goes by",
            where=Where(file=asked.file.path),
            hint="convert with --head raw",
        )


def check_heads(asked: FileEngine) -> None:
    """Refuse a file that gives the inputs of heads, from which no boxes are decoded.

    Args:
        asked: the engine, with its options.

    Raises:
        DarkconvError: always.
    """
    raise DarkconvError(
        "gives logits, from which no boxes are read",
        where=Where(file=asked.file.path),
        hint="convert with --head raw or --head boxes",
    )


def check_constants(asked: FileEngine) -> None:
    """Check that a graph with non-maximum suppression supports the options.

    Args:
        asked: the engine, with its options.

    Raises:
        DarkconvError: the graph needs TensorRT's plugin, has another kind of suppression, or has
            other thresholds as constants.
    """
    file, where = asked.file, Where(file=asked.file.path)
    if file.nms_op != NMS_OPS[0]:
        raise DarkconvError(
            "suppresses by a plugin of TensorRT, and runs there alone",
            where=where,
            hint="convert with --nms-op onnx, or with --head boxes",
        )
    if asked.nms_kind not in (None, "sort"):
        raise DarkconvError(
            "nms_kind", where=where, expected="sort, which is in the graph", found=asked.nms_kind
        )
    if file.has_threshold_inputs:
        return
    least, overlap = graph_thresholds(file)
    hint = "convert with --threshold-inputs, or with --head boxes"
    if CONFIDENCES in box_outputs(file.network) and abs(asked.threshold - least) > SAME:
        raise DarkconvError(
            "threshold",
            where=where,
            expected=f"{least}, with which the graph compares objectness",
            found=asked.threshold,
            hint=hint,
        )
    if asked.threshold < least - SAME:
        raise DarkconvError(
            "threshold",
            where=where,
            expected=f"at least {least}, a constant of the graph",
            found=asked.threshold,
            hint=hint,
        )
    if abs(asked.nms - overlap) > SAME:
        raise DarkconvError(
            "nms",
            where=where,
            expected=f"{overlap}, a constant of the graph",
            found=asked.nms,
            hint=hint,
        )


def relative_boxes(file: ExportedFile, parts: Mapping[str, npt.NDArray[Any]]) -> Array:
    """Return boxes as xywh relative to the network input, float32 (n, 4).

    Args:
        file: the file that has given them.
        parts: the outputs by kind: see `ExportedFile.taken_apart`.
    """
    boxes = parts[CENTRES] if CENTRES in parts else as_centres(parts[CORNERS])
    if file.metadata["boxes"] == PIXELS:
        return np.divide(boxes, np.tile(input_size(file.network), 2), dtype=np.float32)
    return boxes


def scores_of(file: ExportedFile, parts: Mapping[str, npt.NDArray[Any]]) -> Array:
    """Return scores (n, classes); where only the best one is known, the others are 0.

    Args:
        file: the file that has given them.
        parts: the outputs by kind: see `ExportedFile.taken_apart`.
    """
    if SCORES in parts:
        return parts[SCORES]
    best, label = parts[BEST][:, 0], parts[LABEL][:, 0].astype(np.intp)
    scores = np.zeros((len(best), scored_classes(file.network)), np.float32)
    scores[np.arange(len(best)), label] = best
    return scores


CHECKS: dict[str, Callable[[FileEngine], None]] = {
    "raw": lambda _: None,
    "logits": check_heads,
    "boxes": check_objectness,
    "nms": check_constants,
}
Finder = Callable[[FileEngine, Sequence[npt.NDArray[Any]], PictureFit], list[Detection]]
FINDERS: dict[str, Finder] = {
    "raw": find_in_raw,
    "boxes": find_in_boxes,
    "nms": find_in_detections,
}
"""The functions that return detections, by the kind of the file's outputs."""
