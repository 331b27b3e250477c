"""Pascal VOC: an XML file per picture, in a folder beside that of the pictures."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from darkconv.dataset.label import Box, Label, Size, parse_name, pixel_label, problem, shown
from darkconv.dataset.paths import (
    Bounds,
    above,
    numbered_lines,
    read_text,
    walk_files,
    walk_pictures,
)
from darkconv.dataset.sample import Dataset, Sample, order_names
from darkconv.errors import DatasetError

ANNOTATION_FOLDERS = ("Annotations", "annotations")
PICTURE_FOLDERS = ("JPEGImages", "images")
SPLITS = Path("ImageSets", "Main")
SPLIT_NAMES = {"valid": "val"}  # Darknet's word -> VOC's
ROOT = "annotation"
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")  # entities can blow up memory and read files

_OBJECT = re.compile(r"<object[\s>/]")
_MARK = re.compile(r"\s+(-?[01])$")  # behind an id, in the list of one class


@dataclass(frozen=True)
class Folders:
    """Where a VOC data set keeps its parts.

    Attributes:
        annotations: the XML files, also in folders below.
        pictures: the pictures, in the same folders below.
    """

    annotations: Path
    pictures: Path

    @classmethod
    def inside(cls, root: Path) -> "Folders | None":
        """Those of a data set's folder, or None if it is laid out otherwise."""
        annotations = [root / name for name in ANNOTATION_FOLDERS if os.path.isdir(root / name)]
        pictures = [root / name for name in PICTURE_FOLDERS if os.path.isdir(root / name)]
        if not annotations or not pictures:
            return None
        folders = cls(annotations[0], pictures[0])
        return folders if folders.files() else None

    @classmethod
    def of(cls, annotation: Path) -> "Folders":
        """Those around a single XML file; the pictures may lie beside it."""
        folder = annotation.parent
        inside = cls.inside(above(folder))
        is_listed = inside is not None and inside.annotations.samefile(folder)
        return cls(folder, inside.pictures) if inside and is_listed else cls(folder, folder)

    def files(self) -> list[Path]:
        """All annotations, sorted."""
        return [path for path in walk_files(self.annotations) if path.suffix.lower() == ".xml"]

    def stem(self, annotation: Path) -> Path:
        """Path within the folder of annotations, without suffix."""
        return Path(os.path.relpath(annotation, self.annotations)).with_suffix("")

    def pictures_by_stem(self) -> dict[Path, Path]:
        """Path within the picture folder, without suffix -> picture."""
        found = reversed(walk_pictures(self.pictures))
        return {path.relative_to(self.pictures).with_suffix(""): path for path in found}


def read_voc(
    folders: Folders,
    files: Sequence[Path] | None = None,
    names: Sequence[str] | None = None,
    *,
    outside: bool = False,
    source: str,
) -> Dataset:
    """Pictures and boxes of annotation files.

    The picture of an annotation is the one of the same name; only where there is none, the one
    that its `filename` says. Its `path` is never followed.

    Args:
        folders: of the data set.
        files: the annotations to read, all if None.
        names: classes to put first, in that order.
        outside: whether `filename` may lead outside the data set's folder.
        source: what the user called it.
    """
    by_stem = folders.pictures_by_stem()
    samples, problems = [], []
    for path in folders.files() if files is None else files:
        try:
            sample, skipped = read_annotation(path, folders, by_stem, outside=outside)
        except DatasetError as error:
            problems.append(problem(error, path))
            continue
        samples.append(sample)
        problems += skipped
    unused = _unused(by_stem, folders, samples) if files is None else []
    if unused:
        message = (
            f"no annotation for {len(unused)} of {len(by_stem)} pictures, which are left out, "
            f"the first is {unused[0]}"
        )
        problems.append(problem(DatasetError(message), folders.pictures))
    return Dataset(tuple(samples), order_names(samples, names), source, tuple(problems))


def _unused(
    by_stem: Mapping[Path, Path], folders: Folders, samples: Sequence[Sample]
) -> list[Path]:
    """Pictures that no annotation is about, sorted; a broken one is about its picture too."""
    used = {sample.image for sample in samples}
    annotated = set(map(folders.stem, folders.files()))
    return sorted(p for stem, p in by_stem.items() if stem not in annotated and p not in used)


def read_annotation(
    path: Path, folders: Folders, by_stem: Mapping[Path, Path], *, outside: bool
) -> tuple[Sample, list[str]]:
    """A picture with its boxes, and what was skipped.

    Raises:
        DatasetError: the annotation cannot be read, or its picture is missing.
    """
    text = read_text(path, errors="replace")
    root = parse_xml(text)
    image = by_stem.get(folders.stem(path))
    if image is None:
        bounds = Bounds.around(path, outside=outside)
        name = (root.findtext("filename") or "").strip()
        image = bounds.find(name or f"{path.stem}.jpg", (folders.pictures, path.parent))
    size = parse_size(root)
    labels, problems = [], []
    objects = root.findall("object")
    for element, line in zip(objects, object_lines(text, len(objects)), strict=True):
        try:
            labels.append(parse_object(element, size))
        except DatasetError as error:
            problems.append(problem(error, path, line))
    return Sample.of(image, labels, size), problems


def parse_xml(text: str) -> ElementTree.Element:
    """The root of an annotation.

    Raises:
        DatasetError: broken XML, another document, or one with a document type or entity, which
            no annotation needs.
    """
    for word in FORBIDDEN:
        if word in text:
            raise DatasetError(f"is refused: annotations with {word} may do harm")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"is not well-formed XML: {error}") from None
    if root.tag != ROOT:
        raise DatasetError(expected=f"<{ROOT}>", found=f"<{shown(root.tag)}>")
    return root


def object_lines(text: str, count: int) -> Sequence[int | None]:
    """Line numbers of the objects; None for each where comments make them uncertain."""
    lines = [text.count("\n", 0, match.start()) + 1 for match in _OBJECT.finditer(text)]
    return lines if len(lines) == count else [None] * count


def parse_size(root: ElementTree.Element) -> Size | None:
    """(width, height), or None where the annotation has no usable size."""
    try:
        width, height = (int(root.findtext(f"size/{key}", "0")) for key in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def parse_object(element: ElementTree.Element, size: Size | None) -> Label:
    """The class and box of an object; the boxes of its parts are not read.

    Raises:
        DatasetError: no name, no box, or a bad one.
    """
    name = parse_name(element.findtext("name"))
    try:
        return pixel_label(
            name,
            parse_box(element),
            size=size,
            difficult=element.findtext("difficult", "0").strip() == "1",
        )
    except DatasetError as error:
        raise DatasetError(name, expected=error.expected, found=error.found) from None


def parse_box(element: ElementTree.Element) -> Box:
    """The numbers of a `bndbox`.

    Raises:
        DatasetError: one of them is missing or no number.
    """
    texts = [element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError:
        found = shown(",".join(text or "nothing" for text in texts))
        raise DatasetError(expected="xmin, ymin, xmax and ymax", found=found) from None
    return x0, y0, x1, y1


def split_file(root: Path, split: str) -> Path | None:
    """The list of a split, or None if the data set has no lists at all.

    Raises:
        DatasetError: it has lists, but not this one.
    """
    folder = root / SPLITS
    if not os.path.isdir(folder):
        return None
    for name in (split, SPLIT_NAMES.get(split, split)):
        if os.path.isfile(folder / f"{name}.txt"):
            return folder / f"{name}.txt"
    known = ", ".join(sorted(path.stem for path in folder.glob("*.txt")))
    raise DatasetError(f"{folder} has no list {split}.txt", hint=f"it has {known or 'none'}")


def read_split(path: Path, annotations: Path) -> tuple[list[Path], list[str]]:
    """The annotations whose ids a list names, and what was skipped.

    Lists of one class mark pictures without it by -1; those are left out.

    Raises:
        DatasetError: the list cannot be read.
    """
    bounds = Bounds((annotations.resolve(),))
    files, problems = [], []
    for number, line in numbered_lines(read_text(path)):
        mark = _MARK.search(line)
        if not line or (mark and mark[1] == "-1"):
            continue
        name = _MARK.sub("", line) + ".xml"
        try:
            files.append(bounds.find(name, (annotations,), what="annotation"))
        except DatasetError as error:
            problems.append(problem(error, path, number))
    return files, problems
