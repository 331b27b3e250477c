"""What finds objects, step by step: a model, or a file exported from one."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.core.processors import count_processors
from darkconv.detection.decode import box_heads
from darkconv.detection.detect import (
    Detection,
    Predictor,
    check_thresholds,
    detections,
    fitted_picture,
    raw_runner,
)
from darkconv.detection.picture import Fit, PictureLike
from darkconv.errors import DatasetError
from darkconv.files import PathLike


class Detector(Protocol):
    """`darkconv.detect` in its three steps; hidden classes are found too."""

    @property
    def source(self) -> Predictor:
        """Return what is run."""

    def prepare(self, image: PictureLike) -> tuple[npt.NDArray[Any], Fit]:
        """What the network takes, (1, ...), and how the picture was fitted."""

    def run(self, x: npt.NDArray[Any]) -> Sequence[npt.NDArray[Any]]:
        """The outputs for one picture, without a batch axis."""

    def find(self, outputs: Sequence[npt.NDArray[Any]], fit: Fit) -> list[Detection]:
        """The detections in one picture."""


class ModelDetector:
    """A `Detector` of a model.

    Attributes:
        model: that is run.
    """

    def __init__(
        self,
        model: Model,
        *,
        resize: str | None = None,
        backend: str = "torch",
        exact: bool = True,
        **decoding: Any,
    ) -> None:
        """Build what runs the model.

        Args:
            model: with a head that predicts boxes.
            resize: see `darkconv.detect`.
            backend: see `darkconv.detect`.
            exact: see `darkconv.detect`.
            decoding: for `darkconv.detection.detect.detections`.

        Raises:
            DarkconvError: the network predicts no boxes.
        """
        box_heads(model.network)
        check_thresholds(decoding.get("threshold", 0), decoding.get("nms", 0))
        self.model = model
        self._run = raw_runner(model, backend)
        self._resize = resize
        self._exact = exact
        self._decoding = decoding

    @property
    def source(self) -> Model:
        """Return the model."""
        return self.model

    def prepare(self, image: PictureLike) -> tuple[npt.NDArray[Any], Fit]:
        """The network's input, and how the picture was fitted."""
        picture, fit = fitted_picture(self.model.network, image, self._resize, exact=self._exact)
        return fit.apply(picture)[None], fit

    def run(self, x: npt.NDArray[Any]) -> list[Array]:
        """The network's outputs, heads before their activation."""
        return [value[0] for value in self._run(x)]

    def find(self, outputs: Sequence[Array], fit: Fit) -> list[Detection]:
        """What decoding and suppression give."""
        return detections(self.model, outputs, fit, **self._decoding, raw=True)


READERS = min(4, max(1, count_processors() // 2))
"""Threads that read pictures: exact levels of a JPEG file take longer than a small network."""
AHEAD = 2 * READERS + 1
"""Pictures that are read while others are looked at."""

Prepared = tuple[npt.NDArray[Any], Fit]


def detect_files(
    detector: Detector, files: Iterable[PathLike]
) -> Iterator[list[Detection] | DatasetError]:
    """The detections in each of many pictures; while one is looked at, the next ones are read.

    Args:
        detector: that finds objects.
        files: of pictures.

    Yields: in the order of the files; for a file that is no picture the error that says so.
    """
    waiting: deque[Future[Prepared]] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for file in files:
                waiting.append(readers.submit(detector.prepare, file))
                if len(waiting) > AHEAD:
                    yield _result(detector, waiting.popleft())
            while waiting:
                yield _result(detector, waiting.popleft())
        finally:
            for prepared in waiting:
                prepared.cancel()


def _result(detector: Detector, prepared: "Future[Prepared]") -> list[Detection] | DatasetError:
    try:
        x, fit = prepared.result()
    except DatasetError as error:
        return error
    return detector.find(detector.run(x), fit)
