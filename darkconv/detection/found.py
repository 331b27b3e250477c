"""Detections: what was found in one picture."""

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
    """The objects that were found in one picture, best first: one entry per box and class.

    Its arrays cannot be written to: `found.boxes.copy()` can.

    Attributes:
        entries: the detections.
        hidden: how many were left out because `dont_show` hides their classes.

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
        """Corners x0 y0 x1 y1 in pixels of the picture, (n, 4) float32."""
        return _fixed(np.array([d.box for d in self.entries], np.float32).reshape(-1, 4))

    @cached_property
    def scores(self) -> Array:
        """Objectness times class score, (n,) float32 in 0..1."""
        return _fixed(np.array([one.score for one in self.entries], np.float32))

    @cached_property
    def class_ids(self) -> npt.NDArray[np.int64]:
        """Indices of the classes, (n,)."""
        return _fixed(np.array([one.class_id for one in self.entries], np.int64))

    @property
    def names(self) -> list[str]:
        """Names of the classes, one for each entry; an index where the model has no names."""
        return [one.name for one in self.entries]

    @checked
    def draw(
        self, picture: "PictureLike | Image", *, font: PathLike | None = None, order: str = "rgb"
    ) -> "Image":
        """Draw frames and labels into a copy of the picture.

        Args:
            picture: that they were found in, in any form that a `Detector` takes.
            font: file of the labels' font; by default one that has their letters.
            order: of the channels of an array: "rgb" or "bgr".

        Returns: a PIL image.

        Raises:
            DatasetError: the picture cannot be read.
            DarkconvError: the file is no font.
            MissingDependencyError: Pillow is not installed.
        """
        from darkconv.detection.draw import draw

        return draw(as_picture(picture, 3, order=order), self.entries, font=font)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return a dictionary for each entry: class_id, name, score in 0..1, box in pixels."""
        return [asdict(one) | {"box": list(one.box)} for one in self.entries]

    def to_dict(self) -> dict[str, Any]:
        """Return the entries, and how many of hidden classes are left out, as JSON can hold it."""
        return {"detections": self.to_dicts(), "hidden": self.hidden}

    @checked
    def clipped(self, width: int, height: int) -> "Detections":
        """Return the same detections, boxes cut at the border of a picture of a size."""
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
        """Go through the entries, best first."""
        return iter(self.entries)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.entries)

    def _view(self) -> View:
        """Return how they are shown."""
        from darkconv.detection.tables import FOUND_VIEW

        return FOUND_VIEW


def _fixed(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return the same array, which cannot be written to."""
    values.flags.writeable = False
    return values
