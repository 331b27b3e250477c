"""Sample and Dataset: pictures and their boxes, whatever layout they were read from."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.names import distinct_names, same_name
from darkconv.core.views import Shown, View
from darkconv.dataset.label import Label, Size
from darkconv.encodings import with_bytes_decoded


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture with its labelled boxes.

    Coordinates are continuous: width = x1 - x0. The numbers of Pascal VOC, which count pixels from
    1 and include the last one, are taken as they are, as other tools do: a VOC box is one pixel
    narrower here than its pixels are.

    Attributes:
        image: the path of the picture.
        boxes: (k, 4) float64, xyxy in pixels, at most a pixel beyond the picture.
        names: (k,) the class name of each box.
        difficult: (k,) bool, True for boxes that are marked as hard to see, or as a crowd.
        size: (width, height) of the picture in pixels, if the labels state or need it; else None.
    """

    image: Path
    boxes: npt.NDArray[np.float64]
    names: tuple[str, ...]
    difficult: npt.NDArray[np.bool_]
    size: Size | None = None

    def __repr__(self) -> str:
        """Return one line with the picture's path and the classes of its boxes."""
        return f"<Sample {self.image}: {', '.join(self.names) or 'no boxes'}>"

    @classmethod
    def of(cls, image: Path, labels: Sequence[Label] = (), size: Size | None = None) -> "Sample":
        """Build a sample of checked labels.

        Args:
            image: the path of the picture.
            labels: the labels, with boxes xyxy in pixels.
            size: (width, height) of the picture in pixels; None if unknown.
        """
        boxes = np.array([label.box for label in labels], np.float64).reshape(-1, 4)
        difficult = np.array([label.difficult for label in labels], bool)
        return cls(image, boxes, tuple(label.name for label in labels), difficult, size)

    def keep_classes(self, names: Collection[str]) -> "Sample":
        """Return the sample without the boxes of other classes.

        Args:
            names: the classes whose boxes stay.
        """
        wanted = set(map(same_name, names))
        kept = np.array([same_name(name) in wanted for name in self.names], bool)
        return replace(
            self,
            boxes=self.boxes[kept],
            names=tuple(np.array(self.names, object)[kept]),
            difficult=self.difficult[kept],
        )


@dataclass(frozen=True, kw_only=True)
class DatasetLayout:
    """The layout of a source, and the files that its parts were read from.

    Attributes:
        source: the path that was opened.
        form: the name of the layout.
        names_from: the files that the class names were read from.
        labels_from: the folders and files in which labels were found.
        numbered: True if the labels are indices into the data set's own list of names.
        splits: the names of its splits.
        split: the split that was read; None for all.
    """

    source: str
    form: str
    names_from: tuple[str, ...] = ()
    labels_from: tuple[str, ...] = ()
    numbered: bool = False
    splits: tuple[str, ...] = ()
    split: str | None = None


@dataclass(frozen=True, repr=False)
class Dataset(Shown):
    """Pictures and their boxes, from one source or several, as `dc.open_dataset` returns them.

    Attributes:
        samples: the pictures, in the order of the source's list, or sorted by path.
        names: the class names, each once: those of the source's own list in its order, then any
            others that occur, sorted. If labels are indices and classes of the list share a name,
            the index is added to it: `zero:0`, `zero:7`.
        source: the path that was opened.
        problems: what was skipped, a line each: file, line, fault.
        changes: what was changed so that labels fit their pictures, a line each, by kind: see
            `darkconv.dataset.reading.CHANGES`.
        notes: further remarks on how the source was read.
        layouts: the layout of each source.

    Example:
        >>> import darkconv as dc
        >>> dataset = dc.open_dataset("digits10.data")
        >>> len(dataset), dataset.names[:3]
        (30, ('zero', 'one', 'two'))
        >>> dataset.samples[0].boxes.shape, dataset.to_dict()["boxes"]
        ((7, 4), 138)
    """

    samples: tuple[Sample, ...]
    names: tuple[str, ...]
    source: str
    problems: tuple[str, ...] = ()
    changes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    layouts: tuple[DatasetLayout, ...] = ()

    def _view(self) -> View:
        """Return the views for text and notebooks."""
        from darkconv.dataset import views

        return View(views.as_text, views.as_html)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)

    @property
    def labelled(self) -> bool:
        """Return True if any picture has a box."""
        return any(sample.names for sample in self.samples)

    def counts(self) -> dict[str, tuple[int, int]]:
        """Return the number of boxes and of pictures of each class, in the order of `names`."""
        boxes = Counter(name for sample in self.samples for name in sample.names)
        pictures = Counter(name for sample in self.samples for name in set(sample.names))
        return {name: (boxes[name], pictures[name]) for name in self.names}

    def to_dict(self) -> dict[str, Any]:
        """Return counts, problems and changes as values for JSON."""
        counts = self.counts()
        return {
            "source": self.source,
            "pictures": len(self),
            "boxes": sum(boxes for boxes, _ in counts.values()),
            "classes": [
                {"name": name, "boxes": boxes, "pictures": pictures}
                for name, (boxes, pictures) in counts.items()
            ],
            "problems": list(self.problems),
            "changes": {kind: list(lines) for kind, lines in self.changes.items()},
            "notes": list(self.notes),
        }

    @checked
    def only(self, wanted: Iterable[str], *, known: Iterable[str] | None = None) -> "Dataset":
        """Return the pictures with boxes of wanted classes and of no other known class.

        See `only_classes`.

        Args:
            wanted: the names of the wanted classes.
            known: the names of all classes that count; None for all classes of the data set.
        """
        allowed = set(map(same_name, wanted))
        others = set(map(same_name, self.names if known is None else known)) - allowed
        samples = []
        for sample in self.samples:
            own = set(map(same_name, sample.names))
            if not allowed.isdisjoint(own) and others.isdisjoint(own):
                samples.append(sample)
        return replace(self, samples=tuple(samples))

    @checked
    def renamed(self, mapping: Mapping[str, str]) -> "Dataset":
        """Return the data set with other class names; two classes may get the same one.

        Args:
            mapping: the new names by the old ones; old names that are not in use are ignored.
        """
        others = {same_name(name): other for name, other in mapping.items()}

        def rename(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(others.get(same_name(name), name) for name in names)

        samples = tuple(replace(sample, names=rename(sample.names)) for sample in self.samples)
        return replace(self, samples=samples, names=tuple(dict.fromkeys(rename(self.names))))

    @checked
    def decoded(self, encoding: str) -> "Dataset":
        """Return the data set with class names decoded where they are bytes rather than UTF-8 text.

        Args:
            encoding: the encoding of the bytes; names that are not text in it stay as they are.
        """
        return self.renamed({name: with_bytes_decoded(name, encoding) for name in self.names})

    @checked
    def keep_classes(self, names: Sequence[str]) -> "Dataset":
        """Return all pictures, without the boxes of other classes; `names` become the class names.

        Args:
            names: the classes whose boxes stay; names that several classes share become distinct:
                see `darkconv.core.names`.
        """
        own = distinct_names(names)
        spelled = self.renamed({name: name for name in own})
        samples = tuple(sample.keep_classes(own) for sample in spelled.samples)
        return replace(self, samples=samples, names=own)


def only_classes(dataset: Dataset, wanted: Iterable[str], known: Iterable[str]) -> Dataset:
    """Return the pictures that have a box of a wanted class, and none of another known class.

    Boxes of classes that are not in `known` do not count, because a model that was never taught a
    class says nothing about it. They stay in the samples (`keep_classes` drops them). Pictures
    without any wanted box are left out, and so are those without any box.

    Args:
        dataset: a data set with labels.
        wanted: the names of the wanted classes.
        known: the names of all classes that the model distinguishes.
    """
    return dataset.only(wanted, known=known)


def order_names(samples: Iterable[Sample], own: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the class names of a data set: its own list, then others in use, sorted.

    Names that are numbers are sorted by their value.

    Args:
        samples: the pictures whose classes are in use.
        own: the list of names; None if there is none.
    """
    in_use = {name for sample in samples for name in sample.names}
    own = tuple(dict.fromkeys(own or ()))
    return (*own, *sorted(in_use.difference(own), key=_sort_key))


def _sort_key(name: str) -> tuple[bool, int, str]:
    return (False, len(name), name) if name.isdecimal() else (True, 0, name)
