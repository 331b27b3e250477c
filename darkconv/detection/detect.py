"""From a network's outputs to named boxes, and what makes those outputs."""

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
from darkconv.pictures.picture import Fit, Picture, PictureLike, as_picture, resize_mode

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_NAMED = 10
"""Hidden classes that are named."""
Runner = Callable[[Array], Sequence[Array]]
"""(N, C, H, W) -> the network's outputs, (N, ...) each."""

_Key = tuple[str, tuple[int, ...], str, int | None, str | None]
_RUNNERS: "weakref.WeakKeyDictionary[Model, dict[_Key, Runner]]" = weakref.WeakKeyDictionary()
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class Detection:
    """One box of one class.

    Attributes:
        class_id: index of the class.
        name: its name, or the index where the model has no names.
        score: objectness times class score.
        box: (x0, y0, x1, y1) in pixels of the picture, not clipped to it.

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
    """Raise DarkconvError unless the least score and the overlap of equal objects are in 0..1."""
    require_share("threshold", threshold)
    require_share("nms", nms)


class Predictor(Protocol):
    """What made the outputs: a model, or a file exported from one."""

    @property
    def network(self) -> Network:
        """What it was built from."""

    @property
    def hidden(self) -> frozenset[int]:
        """Classes that `dont_show` in the names file hides."""

    def class_name(self, index: int) -> str:
        """Name of a class, or its number."""


def shown(model: Predictor, found: Sequence[Detection]) -> list[Detection]:
    """Return the detections that the C program lists and draws: not those of hidden classes.

    Which classes are hidden is said once.

    Args:
        model: that found them.
        found: all detections; hidden classes have taken part in suppression.
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
    fit: Fit,
    *,
    threshold: float = 0.25,
    nms: float = 0.45,
    nms_kind: str | None = None,
    relative: bool = False,
    raw: bool = False,
) -> list[Detection]:
    """Detections from a network's outputs for one picture: see `darkconv.Detector`.

    Args:
        model: that made them.
        outputs: one array per output of the network, without a batch axis.
        fit: how the picture was fitted.
        threshold: see `darkconv.Detector`.
        nms: see `darkconv.Detector`.
        nms_kind: see `darkconv.Detector`.
        relative: see `remaining`.
        raw: see `darkconv.detection.decode.decode`.
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
        nms: see `darkconv.Detector`.
        nms_kind: see `darkconv.Detector`.
        relative: suppress boxes relative to the picture, as the C program does in `detector map`,
            rather than in pixels. greedynms and diounms measure distances, so it matters where
            a picture is not square.
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
    """Detections, best first.

    Args:
        model: for the names.
        classes: (n,) indices.
        scores: (n,).
        corners: (n, 4) x0 y0 x1 y1 in pixels of the picture.
    """
    order = np.argsort(-scores, kind="stable")
    values = zip(*(part[order].tolist() for part in (classes, scores, corners)), strict=True)
    return [Detection(k, model.class_name(k), score, tuple(box)) for k, score, box in values]


def nms_of(network: Network) -> tuple[str, float]:
    """NMS kind and exponent that the cfg asks for: those of the last head."""
    return nms_settings(box_heads(network)[-1].spec)


def classes_of_suppression(network: Network) -> int | None:
    """How many classes suppression looks at; None for all, as where all heads have the same."""
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
    """A function that gives the network's outputs; kept as long as the model lives."""
    return _runner(model, (backend, model.network.outputs, device, threads, runtime))


def raw_runner(
    model: Model,
    backend: str,
    *,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
) -> Runner:
    """As `runner`, for `detections(raw=True)`: heads are left out that decoding activates."""
    return _runner(model, (backend, raw_layers(model.network), device, threads, runtime))


def raw_layers(network: Network) -> tuple[int, ...]:
    """The layers whose values `detections(raw=True)` takes."""
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
) -> tuple[Picture, Fit]:
    """A picture's levels, and how it fills the network's input: see `read_picture`."""
    picture = as_picture(image, network.input_shape.c, exact=exact)
    return picture, fit_of(network, (picture.shape[1], picture.shape[0]), resize)


def fit_of(network: Network, size: tuple[int, int], resize: str | None) -> Fit:
    """How a picture of a size, (width, height), fills the network's input.

    Args:
        network: that takes it.
        size: of the picture.
        resize: "stretch" or "letterbox"; by default what the network's options say.
    """
    shape = network.input_shape
    letterbox = resize_mode(resize, default=network.options.letterboxes)
    return Fit(size, (shape.w, shape.h), letterbox)
