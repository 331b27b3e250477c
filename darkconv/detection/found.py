"""Detections: the objects found in one picture."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.model import Array
from darkconv.core.views import Shown, View
from darkconv.detection.detect import Detection
from darkconv.files import PathLike
from darkconv.pictures.picture import PictureLike, as_picture

if TYPE_CHECKING:
    from PIL.Image import Image


Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, repr=False)
class Detections(Shown, Sequence[Detection]):
    """The objects found in one picture, best first: one entry per box and class.

    Its arrays are read-only: `found.boxes.copy()` can be written to.

    Attributes:
        entries: the detections.
        hidden: the number of detections left out because `dont_show` hides their classes.

    Example:
        >>> import darkconv as dc
        >>> found = dc.Detections((dc.Detection(0, "cat", 0.9, (10.0, 20.0, 60.0, 80.0)),))
        >>> len(found), found.names, found.boxes.tolist()
        (1, ['cat'], [[10.0, 20.0, 60.0, 80.0]])
    """

    entries: tuple[Detection, ...] = ()
    hidden: int = 0

    @cached_property
    def boxes(self) -> Array:
        """Return the boxes xyxy in pixels of the picture, float32 (n, 4)."""
        return _fixed(np.array([d.box for d in self.entries], np.float32).reshape(-1, 4))

    @cached_property
    def scores(self) -> Array:
        """Return objectness times class probability, float32 (n,) in 0..1."""
        return _fixed(np.array([one.score for one in self.entries], np.float32))

    @cached_property
    def class_ids(self) -> npt.NDArray[np.int64]:
        """Return the class indices, from 0, int64 (n,)."""
        return _fixed(np.array([one.class_id for one in self.entries], np.int64))

    @property
    def names(self) -> list[str]:
        """Return the class names, one for each entry; an index where the model has no names."""
        return [one.name for one in self.entries]

    @checked
    def draw(
        self, picture: "PictureLike | Image", *, font: PathLike | None = None, order: str = "rgb"
    ) -> "Image":
        """Draw frames and labels into a copy of the picture.

        Args:
            picture: the picture in which they were found, in any form that a `Detector` takes.
            font: the file of the labels' font; None for one that has their letters.
            order: the order of the channels of an array: "rgb" or "bgr".

        Returns:
            A PIL image.

        Raises:
            DatasetError: the picture cannot be read.
            DarkconvError: the file is not a font that can be read.
            MissingDependencyError: Pillow is not installed.
        """
        from darkconv.detection.draw import draw

        return draw(as_picture(picture, 3, order=order), self.entries, font=font)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dictionary for each entry: class_id, name, score in 0..1, box in pixels."""
        return [asdict(one) | {"box": list(one.box)} for one in self.entries]

    def to_dict(self) -> dict[str, Any]:
        """Return the entries and the number of hidden detections, as values that JSON can hold."""
        return {"detections": self.to_dicts(), "hidden": self.hidden}

    @checked
    def clipped(self, width: int, height: int) -> "Detections":
        """Return the same detections with boxes cut at the border of a picture.

        Args:
            width: the width of the picture in pixels.
            height: the height of the picture in pixels.
        """
        most = np.array([width, height, width, height], np.float32)
        boxes = np.clip(self.boxes, 0, most).tolist()
        pairs = zip(self.entries, boxes, strict=True)
        cut = tuple(replace(one, box=tuple(box)) for one, box in pairs)
        return Detections(cut, self.hidden)

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: slice) -> "Detections": ...
    def __getitem__(self, index: int | slice) -> "Detection | Detections":
        """Return one entry, or some of them."""
        if isinstance(index, slice):
            return Detections(self.entries[index], self.hidden)
        return self.entries[index]

    def __iter__(self) -> Iterator[Detection]:
        """Iterate over the entries, best first."""
        return iter(self.entries)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.entries)

    def _view(self) -> View:
        """Return the views for text and notebooks."""
        from darkconv.detection.tables import FOUND_VIEW

        return FOUND_VIEW


def _fixed(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the same array, made read-only."""
    values.flags.writeable = False
    return values
