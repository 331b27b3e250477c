"""Turn a network's outputs into named boxes, and keep the functions that compute the outputs."""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.boxes import as_corners
from darkconv.core.bounds import require_share
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.detection.decode import Candidates, box_heads, decode, fitted, takes_raw
from darkconv.detection.suppress import suppress
from darkconv.errors import Where
from darkconv.files.notice import warn_once
from darkconv.layers.box_heads import count_classes, suppressed_classes
from darkconv.layers.head import nms_settings
from darkconv.pictures.picture import Picture, PictureFit, PictureLike, as_picture, resize_mode

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_NAMED = 10
"""The most hidden classes that a warning names."""
Runner = Callable[[Array], Sequence[Array]]
"""A function that takes inputs (N, C, H, W) and returns the network's outputs, (N, ...) each."""

_Key = tuple[str, tuple[int, ...], str, int | None, str | None]
_RUNNERS: "weakref.WeakKeyDictionary[Model, dict[_Key, Runner]]" = weakref.WeakKeyDictionary()
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Detection:
    """One bounding box of one class.

    Attributes:
        class_id: the class index, from 0.
        name: the class name, or the index as text if the model has no names.
        score: objectness times class probability, 0..1.
        box: (x0, y0, x1, y1) in pixels of the picture, which may lie outside of it.

    Example:
        >>> import darkconv as dc
        >>> one = dc.Detection(class_id=0, name="cat", score=0.9, box=(10.0, 20.0, 60.0, 80.0))
        >>> one.name, one.box[2] - one.box[0]
        ('cat', 50.0)
    """

    class_id: int
    name: str
    score: float
    box: tuple[float, float, float, float]


def check_thresholds(threshold: float, nms: float) -> None:
    """Raise DarkconvError unless both thresholds lie in 0..1.

    Args:
        threshold: the threshold of objectness and scores.
        nms: the overlap threshold of non-maximum suppression.

    Raises:
        DarkconvError: one of them lies outside.
    """
    require_share("threshold", threshold)
    require_share("nms", nms)


class Predictor(Protocol):
    """The source of outputs: a model, or a file that was exported from one."""

    @property
    def network(self) -> Network:
        """Return the network that it was built from."""

    @property
    def hidden(self) -> frozenset[int]:
        """Return the indices of classes that `dont_show` in the names file hides."""

    def class_name(self, index: int) -> str:
        """Return the name of a class, or its index as text if it has no name.

        Args:
            index: the class index, from 0.
        """


def shown(model: Predictor, found: Sequence[Detection]) -> list[Detection]:
    """Return the detections that Darknet lists and draws: all but those of hidden classes.

    A warning names the hidden classes once.

    Args:
        model: the model that has found them.
        found: all detections; hidden classes have taken part in non-maximum suppression.
    """
    if model.hidden:
        names = ", ".join(model.class_name(index) for index in sorted(model.hidden)[:MOST_NAMED])
        more = f" and {len(model.hidden) - MOST_NAMED} more" * (len(model.hidden) > MOST_NAMED)
        noun = "class is" if len(model.hidden) == 1 else "classes are"
        warn_once(
            Where(file=model.network.file),
            f"{len(model.hidden)} {noun} hidden by dont_show in the names file: {names}{more}",
        )
    return [one for one in found if one.class_id not in model.hidden]


def detections(
    model: Predictor,
    outputs: Sequence[Array],
    fit: PictureFit,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
    nms_kind: str | None = None,
    relative: bool = False,
    raw: bool = False,
) -> list[Detection]:
    """Return the detections in one picture from a network's outputs, best first.

    Args:
        model: the model that has made the outputs.
        outputs: one array per output of the network, without a batch axis.
        fit: the geometry by which the picture was fitted to the network input.
        threshold: the score threshold, 0..1: see `darkconv.Detector`.
        nms: the overlap threshold, 0..1; 0 suppresses nothing: see `darkconv.Detector`.
        nms_kind: the kind of suppression; None for the cfg's: see `darkconv.Detector`.
        relative: suppress boxes in fractions of the picture: see `remaining`.
        raw: the outputs are inputs of the heads: see `darkconv.detection.decode.decode`.

    Raises:
        DarkconvError: the network predicts no boxes, or an option is wrong.
    """
    check_thresholds(threshold, nms)
    network = model.network
    heads = {layer.index for layer in box_heads(network)}
    of_boxes = [
        value for index, value in zip(network.outputs, outputs, strict=True) if index in heads
    ]
    candidates = decode(network, of_boxes, threshold=threshold, raw=raw)
    return remaining(model, candidates, fit, nms=nms, nms_kind=nms_kind, relative=relative)


def remaining(
    model: Predictor,
    candidates: Candidates,
    fit: PictureFit,
    *,
    nms: float,
    nms_kind: str | None,
    relative: bool = False,
) -> list[Detection]:
    """Return the detections that are left after non-maximum suppression, best first.

    Args:
        model: the model that has made the candidates.
        candidates: the boxes, relative to the network input.
        fit: the geometry by which the picture was fitted to the network input.
        nms: the overlap threshold, 0..1; 0 suppresses nothing: see `darkconv.Detector`.
        nms_kind: the kind of suppression; None for the cfg's: see `darkconv.Detector`.
        relative: suppress boxes in fractions of the picture, as Darknet does in `detector map`,
            rather than in pixels. greedynms and diounms measure distances, so this matters where a
            picture is not square.
    """
    size = np.array(fit.picture * 2, np.float32)
    boxes = fit.to_picture(candidates.boxes)
    candidates = fitted(candidates, boxes if relative else boxes * size)
    kind, beta = nms_of(model.network)
    if nms:
        candidates = suppress(
            candidates,
            threshold=nms,
            kind=nms_kind or kind,
            beta=beta,
            classes=classes_of_suppression(model.network),
        )
    rows, classes = np.nonzero(candidates.scores)
    scores = candidates.scores[rows, classes]
    boxes = candidates.boxes[rows] * size if relative else candidates.boxes[rows]
    return named(model, classes, scores, as_corners(boxes))


def named(
    model: Predictor, classes: npt.NDArray[np.integer], scores: Array, corners: Array
) -> list[Detection]:
    """Return detections with the class names, best first.

    Args:
        model: the model, for its class names.
        classes: (n,) class indices, from 0.
        scores: (n,) scores in 0..1, by which the result is sorted.
        corners: (n, 4) xyxy in pixels of the picture.
    """
    order = np.argsort(-scores, kind="stable")
    values = zip(*(part[order].tolist() for part in (classes, scores, corners)), strict=True)
    return [Detection(k, model.class_name(k), score, tuple(box)) for k, score, box in values]


def nms_of(network: Network) -> tuple[str, float]:
    """Return the NMS kind and the exponent beta_nms of a cfg, which are those of its last head.

    Args:
        network: the network of the cfg.
    """
    return nms_settings(box_heads(network)[-1].spec)


def classes_of_suppression(network: Network) -> int | None:
    """Return the number of classes, from the first, that take part in non-maximum suppression.

    Args:
        network: a network with heads that predict boxes.

    Returns:
        None for all classes, as where all heads have the same number of classes.
    """
    counts = {count_classes(layer) for layer in box_heads(network)}
    return suppressed_classes(network) if len(counts) > 1 else None


def runner(
    model: Model,
    backend: str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Runner:
    """Return the function that computes a network's outputs; it is kept as long as the model lives.

    Args:
        model: the model to run.
        backend: "torch", "onnx" or "keras".
        device: the device: see `darkconv.Detector`.
        threads: the number of CPU threads; None for the backend's default.
        runtime: the runtime of ONNX graphs: see `darkconv.Detector`; None for the backend's
            default.
    """
    return _runner(model, (backend, model.network.outputs, device, threads, runtime))


def raw_runner(
    model: Model,
    backend: str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Runner:
    """Return a function like `runner`'s that leaves out heads, for `detections(raw=True)`.

    Args:
        model: the model to run.
        backend: "torch", "onnx" or "keras".
        device: the device: see `darkconv.Detector`.
        threads: the number of CPU threads; None for the backend's default.
        runtime: the runtime of ONNX graphs: see `darkconv.Detector`; None for the backend's
            default.
    """
    return _runner(model, (backend, raw_layers(model.network), device, threads, runtime))


def raw_layers(network: Network) -> tuple[int, ...]:
    """Return the indices of the layers whose values `detections(raw=True)` takes.

    Args:
        network: a network with heads that predict boxes.
    """
    layers = [network.layers[index] for index in network.outputs]
    return tuple(layer.sources[0] if takes_raw(layer) else layer.index for layer in layers)


def _runner(model: Model, key: _Key) -> Runner:
    backend, layers, device, threads, runtime = key
    with _BUILDING:
        kept = _RUNNERS.setdefault(model, {})
        if key not in kept:
            make = spoke(backend).make_runner
            of_onnx = {} if runtime is None else {"runtime": runtime}
            kept[key] = make(model, layers, device=device, threads=threads, **of_onnx)
        return kept[key]


def fitted_picture(
    network: Network, image: "PictureLike | Image", resize: str | None, *, exact: bool = False
) -> tuple[Picture, PictureFit]:
    """Read a picture, and return its levels and its geometry in the network's input.

    Args:
        network: the network that takes it.
        image: the picture in a form that `as_picture` takes.
        resize: "stretch" or "letterbox"; None for what the network's options say.
        exact: decode JPEG files with the levels of stb_image: see `read_picture`.

    Returns:
        uint8 levels (H, W, C) in the picture's own size, and the geometry.
    """
    picture = as_picture(image, network.input_shape.c, exact=exact)
    return picture, fit_of(network, (picture.shape[1], picture.shape[0]), resize)


def fit_of(network: Network, size: tuple[int, int], resize: str | None) -> PictureFit:
    """Return the geometry by which a picture of a size is fitted to the network's input.

    Args:
        network: the network that takes it.
        size: (width, height) of the picture in pixels.
        resize: "stretch" or "letterbox"; None for what the network's options say.

    Raises:
        DarkconvError: `resize` is another word.
    """
    shape = network.input_shape
    letterbox = resize_mode(resize, default=network.options.letterboxes)
    return PictureFit(size, (shape.w, shape.h), letterbox)
