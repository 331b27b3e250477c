"""Detector and detect: from pictures to named boxes."""

import os
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Model
from darkconv.detection.detect import Detection, shown
from darkconv.detection.engine import NMS, THRESHOLD, Engine, make_engine
from darkconv.detection.found import Detections
from darkconv.detection.missing import MissingValues
from darkconv.detection.sources import (
    PictureSource,
    SourcePicture,
    is_several,
    list_pictures,
    picture_name,
)
from darkconv.detection.stream import (
    Frame,
    Seconds,
    check_batches,
    close,
    look_at,
    name_of,
    prepare_item,
    stream,
)
from darkconv.files import PathLike
from darkconv.pictures.picture import PictureLike

if TYPE_CHECKING:
    from PIL.Image import Image

    from darkconv.dataset import Dataset

Several = list[Any] | tuple[Any, ...] | Generator[Any, None, None]
"""Several pictures, each in a form that `Detector` takes."""


class Detector:
    """Find objects in pictures, with a model or with a file that darkconv has written.

    It reads pictures ahead in threads of its own, and runs the network on batches. Several threads
    may call it at once. It leaves out classes that `dont_show` in a names file hides.

    Attributes:
        network: the network that is run; `network.input_shape` is its input, (channels, height,
            width).
        batch: the number of pictures that the network takes at once.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_pictures, load_digits10
        >>> detector = dc.Detector(load_digits10(), threshold=0.5)
        >>> found = detector(digits10_pictures()[0])
        >>> found.boxes.shape == (len(found), 4)
        True
    """

    @checked
    def __init__(
        self,
        model: Model | ExportedFile | PathLike,
        *,
        threshold: float | None = None,
        nms: float | None = None,
        nms_kind: str | None = None,
        resize: str | None = None,
        backend: str | None = None,
        device: str = "auto",
        batch: int = 1,
        threads: int | None = None,
        runtime: str | None = None,
        exact: bool = False,
        clip: bool = False,
    ) -> None:
        """Load the model, and prepare it to run.

        Args:
            model: a Model whose head predicts boxes, or a file that was exported from one: .onnx
                with any head but "logits", .tflite, .keras, .safetensors.
            threshold: the number in 0..1 that objectness and score must exceed; None for an
                exported file's own threshold, else 0.25.
            nms: the overlap (IoU, 0..1) above which two boxes of a class are the same object; 0
                keeps all boxes; None for an exported file's own, else 0.45.
            nms_kind: "sort", "obj", "greedynms", "diounms" or "cornersnms"; None for the cfg's.
            resize: the way in which pictures are fitted to the network, "stretch" or "letterbox";
                None for an exported file's own, else what the dialect and `letter_box=` say.
            backend: the framework that runs a Model: "torch", "onnx" or "keras"; None for PyTorch,
                or Keras for a .keras file.
            device: "auto" takes a GPU if there is one; "cpu", "cuda", "cuda:N"; for ONNX also
                "tensorrt", "openvino", "coreml" and "directml". A device that is named and missing
                is an error.
            batch: the number of pictures that the network takes at once, where there are several.
            threads: the number of CPU threads; None for as many as there are processors. PyTorch
                has one setting for the whole process.
            runtime: the program that runs an ONNX file, or a Model in the backend onnx, which it
                implies: "onnxruntime", which is the default; "openvino", also in float32;
                "openvino:bf16", in bfloat16 on processors that have it, which changes scores and
                boxes a little.
            exact: decode JPEG files with the levels of a Darknet that was built without OpenCV,
                rather than those of libjpeg, with which OpenCV and a Darknet with OpenCV read them.
                It matters where single scores are compared with such a Darknet; mean AP is the same
                to 0.1 point either way. At JPEG quality 97 and above, exact levels are at most 2
                off in 0.5 % of the values, measured against stb_image.
            clip: cut boxes at the border of the picture.

        Raises:
            DarkconvError: the network predicts no boxes, an option is wrong or the file does not
                support it, or the device is missing.
            MissingDependencyError: the library that runs the model is not installed.
        """
        check_batches(batch, "raise")
        finding: dict[str, Any] = {
            "threshold": threshold, "nms": nms, "nms_kind": nms_kind, "resize": resize,
            "backend": backend, "device": device, "threads": threads, "runtime": runtime,
            "exact": exact,
        }  # fmt: skip
        self._engine: Engine = make_engine(model, **finding)
        self.network = self._engine.network
        self.batch = batch
        self._clip = clip
        path = model.path if isinstance(model, ExportedFile) else model
        self._made_of = partial(Detector, **finding, batch=batch, clip=clip), (path,)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the call that builds the same detector, for pickle."""
        return self._made_of

    @overload
    def __call__(
        self,
        picture: "Several | Dataset",
        *,
        order: str = ...,
    ) -> list[Detections]: ...
    @overload
    def __call__(
        self,
        picture: "PathLike | bytes | IO[bytes] | Image | npt.NDArray[np.uint8]",
        *,
        order: str = ...,
    ) -> Detections: ...
    @checked
    def __call__(self, picture: Any, *, order: str = "rgb") -> Detections | list[Detections]:
        """Find objects in one picture, or in each of several.

        Args:
            picture: a path, the bytes of an image file, a file that is open for reading them, a PIL
                image, or uint8 levels: RGB (H, W, 3) or grey (H, W). A list of these, a generator
                or a Dataset gives a list.
            order: the order of the channels of an array: "rgb", or "bgr" for arrays of OpenCV.

        Returns:
            The detections in the picture, best first, or a list of such.

        Raises:
            DatasetError: a picture cannot be read.
            DarkconvError: the argument is no picture, or the network's outputs are NaN.

        Example:
            >>> import numpy as np
            >>> import darkconv as dc
            >>> from darkconv.assets import load_digits10
            >>> len(dc.Detector(load_digits10())(np.zeros((64, 64, 3), np.uint8)))
            0
        """
        if is_several(picture) or hasattr(picture, "samples"):
            found = list_pictures(picture) if hasattr(picture, "samples") else list(picture)
            items = [
                SourcePicture(one, picture_name(one), index) for index, one in enumerate(found)
            ]
            return [
                one.found for one in self._frames(PictureSource(items, len(items)), order=order)
            ]
        engine, missing = self._engine, MissingValues()
        prepared = prepare_item(
            engine, SourcePicture(picture, picture_name(picture), 0), order=order
        )
        (frame,) = look_at(engine, [prepared], Seconds(), missing)
        missing.check(name_of(engine))
        return self._shown(frame).found

    @checked
    def stream(
        self,
        source: Any,
        *,
        unreadable: str = "raise",
        order: str = "rgb",
        every: int = 1,
    ) -> Generator[Frame, None, None]:
        """Find objects in all pictures of a source, one after the other.

        The next pictures are read while the network runs. A camera or a file is closed when the
        source ends, or when `close()` of the returned generator is called, as `contextlib.closing`
        does.

        Args:
            source: a folder, a pattern such as "photos/*.jpg", a list of pictures or a description
                of a data set as `open_dataset` reads it, a Dataset, a picture in any form, a video
                file, the number of a camera, an address such as "rtsp://host/path", or a list of
                such. Of cameras, and of addresses other than http, the newest frame is taken, and
                frames that came meanwhile are dropped.
            unreadable: for a picture, or a part of a video, that cannot be read: "raise" an error,
                or "skip" it. Each skipped one is reported once, and at the end they are counted.
            order: the order of the channels of arrays: "rgb" or "bgr".
            every: take the first picture or frame, and then every `every`-th. In a list with videos
                this holds for each video, and `index` counts from 0 in each.

        Yields:
            A `Frame` for each picture: picture, index, time, source, found.

        Raises:
            DatasetError: there is no such source, or a picture cannot be read.
            DarkconvError: an option is wrong.
            MissingDependencyError: videos need PyAV.

        Example:
            >>> import darkconv as dc
            >>> from darkconv.assets import digits10_pictures, load_digits10
            >>> frames = dc.Detector(load_digits10()).stream(digits10_pictures()[:3])
            >>> [frame.index for frame in frames]
            [0, 1, 2]
        """
        return self._frames(source, unreadable=unreadable, order=order, every=every)

    def _frames(self, source: Any, **options: Any) -> Generator[Frame, None, None]:
        return self._shown_of(stream(self._engine, source, batch=self.batch, **options))

    def _shown_of(self, frames: Iterator[Frame]) -> Generator[Frame, None, None]:
        try:
            for frame in frames:
                yield self._shown(frame)
        finally:
            close(frames)

    def _shown(self, every: Frame) -> Frame:
        """Leave out hidden classes, and cut boxes at the border if that is wanted."""
        frame = listed(self._engine, every)
        if not self._clip:
            return frame
        height, width = frame.picture.shape[:2]
        return replace(frame, found=frame.found.clipped(width, height))

    def __repr__(self) -> str:
        """Return the file and the input shape in words."""
        path = getattr(self._engine.source, "path", None) or self.network.file
        return f"<Detector of {os.fspath(path or 'a model')}, {self.network.input_shape}>"


def listed(engine: Engine, frame: Frame) -> Frame:
    """Return a frame with the detections that Darknet lists: all but those of hidden classes.

    Args:
        engine: the engine that has found them.
        frame: a picture with all detections.
    """
    found = tuple(shown(engine.source, frame.found.entries))
    return replace(frame, found=Detections(found, len(frame.found) - len(found)))


@overload
def detect(
    model: Model,
    image: "Several | Dataset",
    threshold: float = ...,
    nms: float = ...,
    *,
    resize: str | None = ...,
    nms_kind: str | None = ...,
    backend: str = ...,
    device: str = ...,
    batch: int = ...,
    exact: bool = ...,
) -> list[list[Detection]]: ...
@overload
def detect(
    model: Model,
    image: "PictureLike | Image",
    threshold: float = ...,
    nms: float = ...,
    *,
    resize: str | None = ...,
    nms_kind: str | None = ...,
    backend: str = ...,
    device: str = ...,
    batch: int = ...,
    exact: bool = ...,
) -> list[Detection]: ...
@checked
def detect(
    model: Model,
    image: Any,
    threshold: float = THRESHOLD,
    nms: float = NMS,
    *,
    resize: str | None = None,
    nms_kind: str | None = None,
    backend: str = "torch",
    device: str = "auto",
    batch: int = 1,
    exact: bool = False,
) -> list[Detection] | list[list[Detection]]:
    """Find objects in a picture, or in several: the short form of `Detector`.

    The built network is kept in memory as long as the model lives.

    Args:
        model: a Model with a head that predicts boxes.
        image: a path, the bytes of an image file, a file that is open for reading them, a PIL
            image, or uint8 levels: RGB (H, W, 3) or grey (H, W). A list of these, a generator or a
            Dataset gives a list of results.
        threshold: the number in 0..1 that objectness and score must exceed.
        nms: the overlap (IoU, 0..1) above which two boxes of a class are the same object; 0 keeps
            all boxes.
        resize: "stretch" or "letterbox"; None for what the dialect and `letter_box=` say.
        nms_kind: "sort", "obj", "greedynms", "diounms" or "cornersnms"; None for the cfg's.
        backend: "torch", "onnx" or "keras".
        device: "auto", "cpu", "cuda" and so on: see `Detector`.
        batch: the number of pictures of a list that the network takes at once.
        exact: decode JPEG files with the levels of stb_image: see `Detector`.

    Returns:
        One entry per box and class, best first, without classes that `dont_show` hides.

    Raises:
        DarkconvError: the network predicts no boxes, or an option is wrong.
        DatasetError: the file is no picture.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_pictures, load_digits10
        >>> found = dc.detect(load_digits10(), digits10_pictures()[0])
        >>> found[0].score > 0.25
        True
    """
    detector = Detector(
        model, threshold=threshold, nms=nms, resize=resize, nms_kind=nms_kind, backend=backend,
        device=device, batch=batch, exact=exact,
    )  # fmt: skip
    found = detector(image)
    return list(found) if isinstance(found, Detections) else [list(one) for one in found]
