"""Engines find objects in steps: with a model, an exported file, or a module in training."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from darkconv.backends import spoke
from darkconv.backends.choices import backend_of_model
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Array, Model
from darkconv.core.network import Network
from darkconv.detection.decode import box_heads
from darkconv.detection.detect import (
    Detection,
    Predictor,
    check_thresholds,
    detections,
    fit_of,
    raw_layers,
    raw_runner,
)
from darkconv.detection.suppress import check_kind
from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike
from darkconv.layers.recurrent import Recurrent
from darkconv.loading import load, open_exported
from darkconv.loading.exported import RUNNERS, said_resize
from darkconv.loading.formats import KERAS_SUFFIX, SAFETENSORS_SUFFIX, suffix_of
from darkconv.pictures.picture import Picture, PictureFit, PictureLike, as_picture, with_channels

if TYPE_CHECKING:
    from darkconv.backends.torch import DarknetModule

THRESHOLD, NMS = 0.25, 0.45
"""The default score threshold, and the default overlap threshold of non-maximum suppression."""
MOST_THREADS = 1024
Run = Callable[[npt.NDArray[Any]], Sequence[npt.NDArray[Any]]]


class Engine(Protocol):
    """The steps from a picture to boxes; classes that `dont_show` hides are found too.

    Several threads may call its methods at once.
    """

    @property
    def source(self) -> Predictor:
        """Return the model or file that is run."""

    @property
    def network(self) -> Network:
        """Return the network that is run."""

    def read(self, image: PictureLike, *, order: str = "rgb") -> Picture:
        """Return the levels of a picture in any form: see `as_picture`.

        Args:
            image: the picture in a form that `as_picture` takes.
            order: the order of the channels of an array: "rgb" or "bgr".
        """

    def prepare(self, picture: PictureLike) -> tuple[npt.NDArray[Any], PictureFit]:
        """Return the network input of a picture, (1, ...), and its geometry in it.

        Args:
            picture: the picture in a form that `as_picture` takes.
        """

    def run(self, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the outputs for inputs of any number of pictures.

        Args:
            x: (N, ...) inputs as `prepare` makes them.

        Returns:
            One array (N, ...) for each output.
        """

    def find(self, outputs: Sequence[npt.NDArray[Any]], fit: PictureFit) -> list[Detection]:
        """Return the detections in one picture, best first.

        Args:
            outputs: the outputs for the picture, without a batch axis.
            fit: the picture's geometry in the network input.
        """


class BaseEngine:
    """The common part of all engines: reading pictures, and fitting them to the network's input."""

    def __init__(self, source: Predictor, *, resize: str | None, exact: bool) -> None:
        box_heads(source.network)
        self._source = source
        self._resize = resize
        self._exact = exact
        fit_of(source.network, (1, 1), resize)
        self.keeps_state = any(isinstance(one.spec, Recurrent) for one in source.network.layers)

    @property
    def source(self) -> Any:
        """Return the model or file that is run."""
        return self._source

    @property
    def network(self) -> Network:
        """Return the network that is run."""
        return self._source.network

    def read(self, image: PictureLike, *, order: str = "rgb") -> Picture:
        """Return the levels of a picture in any form, uint8 (H, W, 3) RGB or (H, W, 1) grey.

        Only exact levels for a network of one channel are grey: of a JPEG file they are its own
        luma.

        Args:
            image: the picture in a form that `as_picture` takes.
            order: the order of the channels of an array: "rgb" or "bgr".
        """
        is_luma = self._exact and self.network.input_shape.c == 1
        return as_picture(image, 1 if is_luma else 3, exact=self._exact, order=order)

    def fitted(self, picture: PictureLike) -> tuple[Array, PictureFit]:
        """Return the network input of a picture, float32 (C, H, W) in 0..1, and its geometry in it.

        Args:
            picture: the picture in a form that `as_picture` takes.
        """
        levels = with_channels(self.read(picture), self.network.input_shape.c)
        fit = fit_of(self.network, (levels.shape[1], levels.shape[0]), self._resize)
        return fit.apply(levels), fit

    def prepare(self, picture: PictureLike) -> tuple[npt.NDArray[Any], PictureFit]:
        """Return the network input of a picture, float32 (1, C, H, W), and its geometry in it.

        Args:
            picture: the picture in a form that `as_picture` takes.
        """
        planes, fit = self.fitted(picture)
        return planes[None], fit


def run_in_pieces(run: Run, x: npt.NDArray[Any], size: int | None) -> list[npt.NDArray[Any]]:
    """Run inputs in pieces of a fixed size, of which the last is padded with zeros.

    Args:
        run: the function that computes the outputs of a piece.
        x: inputs of N pictures, (N, ...).
        size: the pictures of a piece; None for all at once.

    Returns:
        One array (N, ...) for each output.
    """
    if size is None or len(x) == size:
        return list(run(x))
    parts = []
    for start in range(0, len(x), size):
        piece = x[start : start + size]
        left = size - len(piece)
        if left:
            piece = np.concatenate([piece, np.zeros((left, *piece.shape[1:]), piece.dtype)])
        parts.append([value[: size - left] for value in run(piece)])
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


class ModelEngine(BaseEngine):
    """An `Engine` that runs a model.

    Attributes:
        model: the model.
    """

    def __init__(
        self,
        model: Model,
        *,
        threshold: float = THRESHOLD,
        nms: float = NMS,
        nms_kind: str | None = None,
        resize: str | None = None,
        backend: str = "torch",
        device: str = "auto",
        threads: int | None = None,
        runtime: str | None = None,
        exact: bool = False,
        relative: bool = False,
    ) -> None:
        """Build the network in its backend: see `make_engine`."""
        super().__init__(model, resize=resize, exact=exact)
        self._decoding = _decoding(threshold, nms, nms_kind, relative=relative)
        self.model = model
        self._run = raw_runner(model, backend, device=device, threads=threads, runtime=runtime)
        is_shared = backend != "keras" and not self.keeps_state
        self._lock = contextlib.nullcontext() if is_shared else threading.Lock()

    def run(self, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the network's outputs; of heads that are decoded raw, the inputs.

        Args:
            x: float32 (N, C, H, W) in 0..1.

        Returns:
            One array (N, ...) for each output.
        """
        with self._lock:
            return run_in_pieces(self._run, x, 1 if self.keeps_state else None)

    def find(self, outputs: Sequence[Array], fit: PictureFit) -> list[Detection]:
        """Return the detections in one picture, after decoding and non-maximum suppression.

        Args:
            outputs: the outputs of `run` for the picture, without a batch axis.
            fit: the picture's geometry in the network input.
        """
        return detections(self.model, outputs, fit, **self._decoding, raw=True)


class ModuleEngine(BaseEngine):
    """An `Engine` that runs a PyTorch module with its current weights, on whatever device they are.

    The module has to be in evaluation mode whenever the engine runs.
    """

    def __init__(
        self,
        source: Predictor,
        module: "DarknetModule",
        *,
        threshold: float = THRESHOLD,
        nms: float = NMS,
        nms_kind: str | None = None,
        resize: str | None = None,
        exact: bool = False,
        relative: bool = False,
    ) -> None:
        """Take a module.

        Args:
            source: a Model, for its network, its class names and the hidden classes.
            module: the module of that network.
            threshold: the number in 0..1 that objectness and score must exceed.
            nms: the overlap threshold, 0..1; 0 suppresses nothing.
            nms_kind: the kind of suppression: see `make_engine`; None for the cfg's.
            resize: "stretch" or "letterbox"; None for what the cfg says.
            exact: decode JPEG files with the levels of stb_image: see `make_engine`.
            relative: suppress boxes in fractions of the picture: see `make_engine`.

        Raises:
            DarkconvError: the network predicts no boxes, or an option is wrong.
        """
        super().__init__(source, resize=resize, exact=exact)
        self._decoding = _decoding(threshold, nms, nms_kind, relative=relative)
        self._module = module
        self._layers = raw_layers(source.network)

    def run(self, x: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return the network's outputs; of heads that are decoded raw, the inputs.

        Args:
            x: float32 (N, C, H, W) in 0..1.

        Returns:
            One array (N, ...) for each output.
        """
        run = spoke("torch").module_runner(self._module, self._layers)
        return run_in_pieces(run, x, 1 if self.keeps_state else None)

    def find(self, outputs: Sequence[Array], fit: PictureFit) -> list[Detection]:
        """Return the detections in one picture, after decoding and non-maximum suppression.

        Args:
            outputs: the outputs of `run` for the picture, without a batch axis.
            fit: the picture's geometry in the network input.
        """
        return detections(self._source, outputs, fit, **self._decoding, raw=True)


def _decoding(
    threshold: float, nms: float, nms_kind: str | None, *, relative: bool
) -> dict[str, Any]:
    """Check options of `detections`, and return them as keyword arguments."""
    check_thresholds(threshold, nms)
    check_kind(nms_kind)
    return {"threshold": threshold, "nms": nms, "nms_kind": nms_kind, "relative": relative}


def make_engine(
    model: "Model | ExportedFile | PathLike",
    *,
    threshold: float | None = None,
    nms: float | None = None,
    nms_kind: str | None = None,
    resize: str | None = None,
    backend: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    runtime: str | None = None,
    exact: bool = False,
    relative: bool = False,
) -> Engine:
    """Return the engine that finds objects with a model, or with a file that darkconv has written.

    Args:
        model: a Model, an opened file, or the path of a file: .onnx, .tflite, .keras or
            .safetensors.
        threshold: the number in 0..1 that objectness and score must exceed; None for the file's
            own, else 0.25.
        nms: the overlap (IoU, 0..1) above which two boxes of a class are the same object; 0 keeps
            all boxes; None for the file's own, else 0.45.
        nms_kind: "sort", "obj", "greedynms", "diounms" or "cornersnms"; None for the cfg's.
        resize: "stretch" or "letterbox"; None for the file's own, else what the dialect and
            `letter_box=` say.
        backend: the framework that runs a model: "torch", "onnx" or "keras"; None for PyTorch, or
            Keras for .keras files. ONNX and LiteRT files need no backend.
        device: "auto" takes a GPU if there is one; "cpu", "cuda", "cuda:N"; for ONNX also
            "tensorrt", "openvino", "coreml" and "directml".
        threads: the number of CPU threads; None for the backend's default. PyTorch has one setting
            for the whole process.
        runtime: the program that runs ONNX files, and models in the backend onnx, which it implies:
            "onnxruntime", which is the default, "openvino", or "openvino:bf16".
        exact: decode JPEG files with the levels of stb_image: see
            `darkconv.pictures.picture.read_picture`.
        relative: suppress boxes in fractions of the picture: see
            `darkconv.detection.detect.remaining`.

    Raises:
        DarkconvError: the network predicts no boxes, an option is wrong, the file cannot be read or
            does not support an option, or the device is missing.
        MissingDependencyError: the library that runs the model is not installed.
    """
    from darkconv.detection.exported import FileEngine

    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise DarkconvError("threads", expected=f"1 to {MOST_THREADS}", found=threads)
    if not isinstance(model, Model | ExportedFile):
        path, model = (
            model,
            open_runnable(model, backend=backend, device=device, threads=threads, runtime=runtime),
        )
        resize = resize or said_resize(path)
    given: dict[str, Any] = {
        "threshold": threshold, "nms": nms, "nms_kind": nms_kind, "resize": resize,
        "exact": exact, "relative": relative, "device": device, "threads": threads,
        "runtime": runtime,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(model, Model):
        return ModelEngine(model, backend=backend_of_model(backend, runtime), **given)
    if backend is not None and not (backend == "keras" and is_keras(model.path)):
        raise DarkconvError(
            "backend", expected=f"None, for {model.path} runs by itself", found=backend
        )
    return FileEngine(model, **given)


def open_runnable(
    path: PathLike,
    *,
    backend: str | None,
    device: str,
    threads: int | None,
    runtime: str | None = None,
) -> Model | ExportedFile:
    """Open a file that darkconv has written, in order to run it.

    Args:
        path: the file: .onnx, .tflite, .keras or .safetensors.
        backend: the framework that runs it, or None: see `make_engine`.
        device: the device: see `make_engine`.
        threads: the number of CPU threads; None for the default.
        runtime: the runtime of an ONNX file: see `make_engine`.

    Returns:
        A Model for a .safetensors file, and for a .keras file of another backend; else the opened
        file.

    Raises:
        DarkconvError: the file is of another kind.
    """
    suffix = suffix_of(path)
    is_keras_read_back = suffix == KERAS_SUFFIX and backend not in (None, "keras")
    if suffix == SAFETENSORS_SUFFIX or is_keras_read_back:
        return load(path)
    if suffix in RUNNERS:
        return open_exported(path, device=device, threads=threads, runtime=runtime)
    raise DarkconvError(
        "cannot be run by itself",
        where=Where(file=os.fspath(path)),
        expected="a Model, or a file that ends in .onnx, .tflite, .keras or .safetensors",
        hint="darkconv.load(cfg, weights) gives a Model",
    )


def is_keras(path: PathLike) -> bool:
    """Return True if a file has Keras's suffix.

    Args:
        path: the file; it need not exist.
    """
    return suffix_of(path) == KERAS_SUFFIX
