"""Pascal VOC: an XML file per picture, in a folder beside that of the pictures."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from darkconv.dataset.fit import Mark, fit_labels
from darkconv.dataset.label import Box, Label, Size, checked_label, parse_name, shown
from darkconv.dataset.locate import is_absolute
from darkconv.dataset.paths import (
    Bounds,
    above,
    numbered_lines,
    read_text,
    walk_files,
    walk_pictures,
)
from darkconv.dataset.reading import Reading
from darkconv.dataset.sample import Dataset, Sample
from darkconv.dataset.source import Options, Source
from darkconv.errors import DatasetError, Where
from darkconv.files.outputs import note_input

FORM = "Pascal VOC"
ANNOTATION_FOLDERS = ("Annotations", "annotations", "labels", "xml", "xmls")
PICTURE_FOLDERS = ("JPEGImages", "images", "data")
"""VOC's own folders and those of other tools: FiftyOne has `data` and `labels`."""
SPLITS = Path("ImageSets", "Main")
ROOT = "annotation"
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")  # entities can blow up memory and read files

NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape")
"""Codecs of Python that no file is written in, and that strangers shall not choose."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DECLARATION = re.compile(r"^\ufeff?\s*<\?xml[^>]*\?>")
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
        """Return those of a data set's folder, or None if it is laid out otherwise."""
        pictures = [root / name for name in PICTURE_FOLDERS if os.path.isdir(root / name)]
        if not pictures:
            return None
        found = (cls(root / name, pictures[0]) for name in ANNOTATION_FOLDERS)
        return next((one for one in found if os.path.isdir(one.annotations) and one.files()), None)

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


def set_source(path: Path, folders: Folders, options: Options) -> Source:
    """Return the source of a data set of VOC.

    Args:
        path: its folder, or one of its lists.
        folders: its parts.
        options: how sources are read.
    """
    if options.images is not None:
        folders = replace(folders, pictures=options.images)
    lists = split_lists(folders.annotations.parent)

    def read(split: str | None) -> Dataset:
        reading = Reading(str(path))
        listed = lists[split] if split else path if path.suffix == ".txt" else None
        files = None if listed is None else read_split(listed, folders.annotations, reading)
        return read_voc(folders, files, options, reading)

    return Source(str(path), read, () if path.suffix == ".txt" else tuple(lists))


def annotation_source(path: Path, options: Options) -> Source:
    """Return the source of one annotation."""
    folders = Folders.of(path)
    if options.images is not None:
        folders = replace(folders, pictures=options.images)
    return Source(str(path), lambda _: read_voc(folders, [path], options, Reading(str(path))))


def read_voc(
    folders: Folders, files: Sequence[Path] | None, options: Options, reading: Reading
) -> Dataset:
    """Read the pictures and boxes of annotation files.

    The picture of an annotation is the one of the same name; only where there is none, the one
    that its `filename` says. Its `path` is never followed.

    Args:
        folders: of the data set.
        files: the annotations to read, all if None.
        options: how sources are read; their names are put first.
        reading: where problems and changes are reported.
    """
    by_stem = folders.pictures_by_stem()
    samples = []
    for path in folders.files() if files is None else files:
        try:
            samples.append(read_annotation(path, folders, by_stem, options, reading))
            reading.found_labels(folders.annotations)
        except DatasetError as error:
            reading.skip(error, path)
    unused = _unused(by_stem, folders, samples) if files is None else []
    if unused:
        message = (
            f"no annotation for {len(unused)} of {len(by_stem)} pictures, which are left out, "
            f"the first is {unused[0]}"
        )
        reading.skip(DatasetError(message), folders.pictures)
    if samples:
        reading.found_names(folders.annotations)
    return reading.dataset(samples, options.names, form=FORM)


def _unused(
    by_stem: Mapping[Path, Path], folders: Folders, samples: Sequence[Sample]
) -> list[Path]:
    """Pictures that no annotation is about, sorted; a broken one is about its picture too."""
    used = {sample.image for sample in samples}
    annotated = set(map(folders.stem, folders.files()))
    return sorted(p for stem, p in by_stem.items() if stem not in annotated and p not in used)


def read_annotation(
    path: Path,
    folders: Folders,
    by_stem: Mapping[Path, Path],
    options: Options,
    reading: Reading,
) -> Sample:
    """Return a picture with its boxes.

    Raises:
        DatasetError: the annotation cannot be read, or its picture is missing.
    """
    text = read_xml(path)
    root = parse_xml(text)
    image = by_stem.get(folders.stem(path))
    if image is None:
        image = _by_filename(path, root, folders, options)
    marks = []
    objects = root.findall("object")
    for element, line in zip(objects, object_lines(text, len(objects)), strict=True):
        try:
            place = f"{path}:{line}" if line else str(path)
            marks.append(Mark(parse_object(element), place))
        except DatasetError as error:
            reading.skip(error, path, line)
    return fit_labels(image, marks, parse_size(root), reading)


def _by_filename(path: Path, root: ElementTree.Element, folders: Folders, options: Options) -> Path:
    """Return the picture that an annotation names, a whole path of another machine too.

    Raises:
        DatasetError: there is none, or it lies outside.
    """
    name = (root.findtext("filename") or "").strip() or f"{path.stem}.jpg"
    places = (folders.pictures, path.parent)
    bounds = Bounds.around(path, outside=options.outside)
    if options.images is not None:
        bounds = Bounds(None)
    try:
        return bounds.find(name, places)
    except DatasetError:
        last = name.replace("\\", "/").rpartition("/")[2]
        here = [folder / last for folder in places if os.path.isfile(folder / last)]
        if not is_absolute(name) or not here:
            raise
        return bounds.find(last, places)


def read_xml(path: Path) -> str:
    """Return the text of an annotation, in the encoding that it declares.

    Raises:
        DatasetError: the file cannot be read, or its encoding is not known.
    """
    note_input(path, is_lasting=True)
    try:
        content = path.read_bytes()
    except OSError as error:
        where = Where(file=str(path))
        raise DatasetError(f"cannot read: {error.strerror}", where=where) from error
    declared = _DECLARED.match(content)
    encoding = declared[1].decode("ascii") if declared else "utf-8-sig"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif content.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    try:
        if encoding.lower().replace("-", "_") in NO_ENCODINGS:
            raise LookupError
        text = content.decode(encoding, "replace")
    except (LookupError, UnicodeError):
        raise DatasetError(expected="a known encoding", found=shown(encoding)) from None
    return text.replace("\r\n", "\n")


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
        root = ElementTree.fromstring(_DECLARATION.sub("", text))
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


def parse_object(element: ElementTree.Element) -> Label:
    """The class and box of an object; the boxes of its parts are not read.

    Raises:
        DatasetError: no name, no box, or a bad one.
    """
    name = parse_name(element.findtext("name"))
    try:
        difficult = element.findtext("difficult", "0").strip() == "1"
        return checked_label(name, parse_box(element), difficult=difficult)
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


def split_lists(root: Path) -> dict[str, Path]:
    """Return the image sets of a data set: its lists by name, those of one class at the end."""
    lists = sorted((root / SPLITS).glob("*.txt")) if os.path.isdir(root / SPLITS) else []
    return {path.stem: path for path in sorted(lists, key=is_of_one_class)}


def is_of_one_class(path: Path) -> bool:
    """Return True for a list that marks pictures with a class by 1, and those without by -1."""
    lines = (line for _, line in numbered_lines(read_text(path)) if line)
    return _MARK.search(next(lines, "")) is not None


def read_split(path: Path, annotations: Path, reading: Reading) -> list[Path]:
    """Return the annotations whose ids a list names.

    Lists of one class mark pictures without it by -1; those are left out.

    Raises:
        DatasetError: the list cannot be read.
    """
    bounds = Bounds((annotations.resolve(),))
    files = []
    for number, line in numbered_lines(read_text(path)):
        mark = _MARK.search(line)
        if not line or (mark and mark[1] == "-1"):
            continue
        name = _MARK.sub("", line) + ".xml"
        try:
            files.append(bounds.find(name, (annotations,), what="annotation"))
        except DatasetError as error:
            reading.skip(error, path, number)
    return files
