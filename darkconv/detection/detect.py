"""detect: a picture in, named boxes out."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.detection.decode import Candidates, box_heads, decode, fitted
from darkconv.detection.picture import Fit, Picture, read_picture, resize_mode
from darkconv.detection.suppress import suppress
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.layers.head import nms_settings

Runner = Callable[[Array], Sequence[Array]]
"""(N, C, H, W) -> the network's outputs, (N, ...) each."""

_RUNNERS: "weakref.WeakKeyDictionary[Model, dict[str, Runner]]" = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class Detection:
    """One box of one class.

    Attributes:
        class_id: index of the class.
        name: its name, or the index where the model has no names.
        score: objectness times class score.
        box: (x0, y0, x1, y1) in pixels of the picture, not clipped to it.
    """

    class_id: int
    name: str
    score: float
    box: tuple[float, float, float, float]


def detect(
    model: Model,
    image: PathLike | npt.ArrayLike,
    threshold: float = 0.25,
    nms: float = 0.45,
    *,
    resize: str | None = None,
    nms_kind: str | None = None,
    backend: str = "torch",
) -> list[Detection]:
    """Find objects in a picture as the C program does.

    Args:
        model: with a head that predicts boxes.
        image: a file, or RGB levels (H, W, 3) of 8 bit.
        threshold: objectness and score must exceed it.
        nms: overlap above which two boxes of a class are the same object; 0 keeps them all.
        resize: "stretch" or "letterbox"; by default what the dialect and `letter_box=` say.
        nms_kind: "sort", "obj", "greedynms", "diounms" or "cornersnms"; by default the cfg's.
        backend: "torch", "onnx" or "keras".

    Returns: one entry per box and class, best first.

    Raises:
        DarkconvError: the network predicts no boxes.
        DatasetError: the file is no picture.
    """
    network = model.network
    box_heads(network)
    picture, fit = fitted_picture(network, image, resize)
    values = runner(model, backend)(fit.apply(picture)[None])
    outputs = [value[0] for value in values]
    return detections(model, outputs, fit, threshold=threshold, nms=nms, nms_kind=nms_kind)


class Predictor(Protocol):
    """What made the outputs: a model, or a file exported from one."""

    @property
    def network(self) -> Network:
        """What it was built from."""

    def class_name(self, index: int) -> str:
        """Name of a class, or its number."""


def detections(
    model: Predictor,
    outputs: Sequence[Array],
    fit: Fit,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
    nms_kind: str | None = None,
    relative: bool = False,
) -> list[Detection]:
    """Detections from a network's outputs for one picture: see `detect`.

    Args:
        model: that made them.
        outputs: one array per output of the network, without a batch axis.
        fit: how the picture was fitted.
        threshold: see `detect`.
        nms: see `detect`.
        nms_kind: see `detect`.
        relative: see `remaining`.
    """
    network = model.network
    heads = {layer.index for layer in box_heads(network)}
    of_boxes = [
        value for index, value in zip(network.outputs, outputs, strict=True) if index in heads
    ]
    candidates = decode(network, of_boxes, threshold=threshold)
    return remaining(model, candidates, fit, nms=nms, nms_kind=nms_kind, relative=relative)


def remaining(
    model: Predictor,
    candidates: Candidates,
    fit: Fit,
    *,
    nms: float,
    nms_kind: str | None,
    relative: bool = False,
) -> list[Detection]:
    """What suppression leaves, best first.

    Args:
        model: that made the candidates.
        candidates: boxes relative to the network input.
        fit: how the picture was fitted.
        nms: see `detect`.
        nms_kind: see `detect`.
        relative: suppress boxes relative to the picture, as the C program does in `detector map`,
            rather than in pixels. greedynms and diounms measure distances, so it matters where
            a picture is not square.
    """
    size = np.array(fit.picture * 2, np.float32)
    boxes = fit.to_picture(candidates.boxes)
    candidates = fitted(candidates, boxes if relative else boxes * size)
    kind, beta = nms_of(model.network)
    if nms:
        candidates = suppress(candidates, threshold=nms, kind=nms_kind or kind, beta=beta)
    rows, classes = np.nonzero(candidates.scores)
    scores = candidates.scores[rows, classes]
    boxes = candidates.boxes[rows] * size if relative else candidates.boxes[rows]
    return named(model, classes, scores, as_corners(boxes))


def named(
    model: Predictor, classes: npt.NDArray[np.integer], scores: Array, corners: Array
) -> list[Detection]:
    """Detections, best first.

    Args:
        model: for the names.
        classes: (n,) indices.
        scores: (n,).
        corners: (n, 4) x0 y0 x1 y1 in pixels of the picture.
    """
    return [
        Detection(
            int(classes[i]),
            model.class_name(int(classes[i])),
            float(scores[i]),
            tuple(corners[i].tolist()),
        )
        for i in np.argsort(-scores, kind="stable")
    ]


def nms_of(network: Network) -> tuple[str, float]:
    """NMS kind and exponent that the cfg asks for: those of the last head."""
    return nms_settings(box_heads(network)[-1].spec)


def as_corners(boxes: Array) -> Array:
    """Xywh -> xyxy."""
    half = boxes[:, 2:] / 2
    return np.hstack([boxes[:, :2] - half, boxes[:, :2] + half])


def runner(model: Model, backend: str) -> Runner:
    """A function that runs a model; kept as long as the model lives."""
    kept = _RUNNERS.setdefault(model, {})
    if backend not in kept:
        kept[backend] = spoke(backend).make_runner(model)
    return kept[backend]


def fitted_picture(
    network: Network, image: PathLike | npt.ArrayLike, resize: str | None, *, exact: bool = True
) -> tuple[Picture, Fit]:
    """A picture's levels, and how it fills the network's input: see `detect` and `read_picture`."""
    shape = network.input_shape
    picture = _picture(image, shape.c, exact=exact)
    letterbox = resize_mode(resize, default=network.options.letterboxes)
    return picture, Fit((picture.shape[1], picture.shape[0]), (shape.w, shape.h), letterbox)


def _picture(image: PathLike | npt.ArrayLike, channels: int, *, exact: bool) -> Picture:
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        return read_picture(image, channels=channels, exact=exact)  # type: ignore[arg-type]
    picture = np.asarray(image)
    if picture.ndim != 3 or picture.shape[2] != channels or picture.dtype != np.uint8:
        raise DarkconvError(
            "image",
            expected=f"a file, or 8-bit levels of shape (H, W, {channels})",
            found=f"{picture.dtype} {picture.shape}",
        )
    return picture
