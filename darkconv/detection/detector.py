"""What finds objects, step by step: a model, or a file exported from one."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.detection.decode import box_heads
from darkconv.detection.detect import Detection, detections, fitted_picture, runner
from darkconv.detection.picture import Fit
from darkconv.files import PathLike


class Detector(Protocol):
    """`darkconv.detect` in its three steps."""

    def prepare(self, image: PathLike | npt.ArrayLike) -> tuple[npt.NDArray[Any], Fit]:
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
        self, model: Model, *, resize: str | None = None, backend: str = "torch", **decoding: Any
    ) -> None:
        """Build what runs the model.

        Args:
            model: with a head that predicts boxes.
            resize: see `darkconv.detect`.
            backend: see `darkconv.detect`.
            decoding: for `darkconv.detection.detect.detections`.

        Raises:
            DarkconvError: the network predicts no boxes.
        """
        box_heads(model.network)
        self.model = model
        self._run = runner(model, backend)
        self._resize = resize
        self._decoding = decoding

    def prepare(self, image: PathLike | npt.ArrayLike) -> tuple[npt.NDArray[Any], Fit]:
        """The network's input, and how the picture was fitted."""
        picture, fit = fitted_picture(self.model.network, image, self._resize)
        return fit.apply(picture)[None], fit

    def run(self, x: npt.NDArray[Any]) -> list[Array]:
        """The network's outputs."""
        return [value[0] for value in self._run(x)]

    def find(self, outputs: Sequence[Array], fit: Fit) -> list[Detection]:
        """What decoding and suppression give."""
        return detections(self.model, outputs, fit, **self._decoding)
