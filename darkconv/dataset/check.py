"""Check a data set: count what it holds, and find what is wrong with it."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.dataset.label import Size, numbers_of, problem
from darkconv.dataset.paths import picture_size
from darkconv.dataset.reading import CHANGES
from darkconv.dataset.sample import Dataset, DatasetLayout, Sample
from darkconv.errors import DatasetError
from darkconv.pictures.image_file import opened

WORKERS = 4

KINDS = {
    "unlabelled": "no label was found",
    "skipped": "skipped when labels were read",
    "unreadable": "pictures that cannot be read",
    **CHANGES,
    "repeated": "boxes that are there more than once",
    "copies": "pictures that are copies of others",
}
"""The kinds of findings, as headings: faults, and changes that were made to labels."""

Update = Callable[[int], None]


@dataclass(frozen=True)
class ClassCount:
    """The labels of one class in numbers.

    Attributes:
        name: the name of the class.
        boxes: the number of its boxes.
        pictures: the number of pictures with at least one of them.
        difficult: the number of boxes that are marked as difficult, or as crowds.
        width: the mean width of its boxes as a fraction of the picture's, cut at the border; NaN if
            there is none.
        height: the mean height, in the same way.
        area: the mean area, in the same way.
    """

    name: str
    boxes: int
    pictures: int
    difficult: int
    width: float
    height: float
    area: float


@dataclass(frozen=True)
class Check:
    """The result of `check`.

    Attributes:
        source: the path that was opened.
        pictures: the number of usable pictures.
        boxes: the number of usable boxes.
        empty: the pictures without a box.
        unreadable: the pictures that cannot be read.
        classes: the counts of each class, in the data set's order.
        findings: the faults, a line each, by the keys of `KINDS`.
        layouts: the layout of each source, with the files that its parts come from.
        notes: further remarks on how the data set was read.
    """

    source: str
    pictures: int
    boxes: int
    empty: tuple[Path, ...]
    unreadable: frozenset[Path]
    classes: tuple[ClassCount, ...]
    findings: dict[str, tuple[str, ...]]
    layouts: tuple[DatasetLayout, ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the result as values for JSON; null stands for the mean of no boxes."""
        return {
            "source": self.source,
            "pictures": self.pictures,
            "boxes": self.boxes,
            "empty": [str(path) for path in self.empty],
            "classes": [
                {key: None if value != value else value for key, value in asdict(one).items()}
                for one in self.classes
            ],
            "findings": {kind: list(lines) for kind, lines in self.findings.items()},
            "layouts": [asdict(layout) for layout in self.layouts],
            "notes": list(self.notes),
        }


def check(dataset: Dataset, update: Update | None = None) -> Check:
    """Read every picture of a data set, and check all boxes.

    If there are no boxes at all and the pictures lie in several folders, as those of classifiers
    do, the folders count as classes.

    Args:
        dataset: the opened data set.
        update: a function that is called with the number of pictures read so far; None for none.

    Returns:
        The counts and the findings.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    sizes, broken = picture_sizes(dataset.samples, update)
    findings = {
        "unlabelled": () if dataset.labelled else (without_labels(dataset),),
        "skipped": dataset.problems,
        "unreadable": tuple(problem(error, path) for path, error in broken.items()),
        **{kind: dataset.changes.get(kind, ()) for kind in CHANGES},
        "repeated": tuple(repeated_boxes(dataset.samples)),
        "copies": tuple(copies([sample.image for sample in dataset.samples])),
    }
    empty = tuple(sample.image for sample in dataset.samples if not sample.names)
    counts = count_classes(dataset, sizes) if dataset.labelled else count_folders(dataset.samples)
    return Check(
        dataset.source,
        len(dataset),
        sum(len(sample.names) for sample in dataset.samples),
        empty,
        frozenset(broken),
        counts,
        findings,
        dataset.layouts,
        dataset.notes,
    )


def without_labels(dataset: Dataset) -> str:
    """Return a line that says where labels were searched in a data set without any.

    Args:
        dataset: a data set without a single box.
    """
    found = [place for layout in dataset.layouts for place in layout.labels_from]
    if found:
        return f"{dataset.source}: the files of labels in {', '.join(found[:5])} hold none"
    return (
        f"{dataset.source}: looked for a .txt file beside each picture and in folders called "
        "labels, for annotations of VOC, COCO and OIDv4, and for data.yaml"
    )


def picture_sizes(
    samples: Sequence[Sample], update: Update | None = None
) -> tuple[dict[Path, Size], dict[Path, DatasetError]]:
    """Decode every picture, and return the sizes, and the errors of those that cannot be decoded.

    Args:
        samples: the pictures to decode; their boxes do not matter.
        update: a function that is called with the number of pictures read so far; None for none.

    Returns:
        (width, height) in pixels by path, and the error by path.
    """
    sizes: dict[Path, Size] = {}
    broken: dict[Path, DatasetError] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(_read_size, [sample.image for sample in samples])
        for number, (sample, result) in enumerate(zip(samples, results, strict=True), 1):
            if isinstance(result, DatasetError):
                broken[sample.image] = result
            else:
                sizes[sample.image] = result
            if update:
                update(number)
    return sizes, broken


def _read_size(path: Path) -> Size | DatasetError:
    try:
        size = picture_size(path)
        with opened(path) as image:
            image.load()
    except DatasetError as error:
        return error
    return size


def repeated_boxes(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield a line for each box that occurs more than once, compared to a tenth of a pixel.

    Args:
        samples: the pictures with their boxes.

    Yields:
        The lines, each with the file's path.
    """
    for sample in samples:
        keys = Counter(
            (name, numbers_of(box))
            for name, box in zip(sample.names, sample.boxes.tolist(), strict=True)
        )
        for (name, numbers), count in keys.items():
            if count > 1:
                error = DatasetError(f"{name} {numbers} is there {count} times")
                yield problem(error, sample.image)


def copies(images: Sequence[Path]) -> Iterator[str]:
    """Yield a line for each picture whose bytes are the same as an earlier one's.

    Args:
        images: the pictures' paths; missing files are ignored.

    Yields:
        The lines, each with both paths.
    """
    by_length: dict[int, list[Path]] = defaultdict(list)
    for image in images:
        if os.path.isfile(image):
            by_length[image.stat().st_size].append(image)
    for same in by_length.values():
        first: dict[bytes, Path] = {}
        for image in same if len(same) > 1 else ():
            original = first.setdefault(blake2b(image.read_bytes()).digest(), image)
            if original is not image:
                yield problem(DatasetError(f"the same bytes as {original}"), image)


def count_classes(dataset: Dataset, sizes: dict[Path, Size]) -> tuple[ClassCount, ...]:
    """Return the numbers of boxes and pictures of each class, including classes without any.

    Args:
        dataset: a data set with labels; boxes are cut at the picture's border before they are
            measured.
        sizes: (width, height) of the pictures in pixels, by path.

    Returns:
        One entry for each class, in the data set's order.
    """
    shares: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    boxes, pictures, difficult = Counter[str](), Counter[str](), Counter[str]()
    for sample in dataset.samples:
        boxes.update(sample.names)
        pictures.update(set(sample.names))
        difficult.update(np.array(sample.names)[sample.difficult].tolist())
        size = sizes.get(sample.image) or sample.size
        if size and sample.names:
            limits = np.array(size, np.float64)
            inside = sample.boxes.clip(0, np.tile(limits, 2))
            for name, share in zip(
                sample.names, (inside[:, 2:] - inside[:, :2]) / limits, strict=True
            ):
                shares[name].append(np.append(share, share.prod()))
    means = {name: np.mean(rows, axis=0).tolist() for name, rows in shares.items()}
    unknown = [float("nan")] * 3
    return tuple(
        ClassCount(name, boxes[name], pictures[name], difficult[name], *means.get(name, unknown))
        for name in dataset.names
    )


def count_folders(samples: Sequence[Sample]) -> tuple[ClassCount, ...]:
    """Return the number of pictures in each folder, if there are several folders.

    Args:
        samples: the pictures; each counts for the folder that it lies in.

    Returns:
        One entry for each folder, sorted by name.
    """
    counts = Counter(sample.image.parent.name for sample in samples)
    if len(counts) < 2:
        return ()
    unknown = [float("nan")] * 3
    return tuple(ClassCount(name, 0, counts[name], 0, *unknown) for name in sorted(counts))
