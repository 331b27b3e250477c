"""Read Pascal VOC: an XML file per picture, in a folder beside that of the pictures."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

from darkconv.dataset.fit import Mark, fit_labels
from darkconv.dataset.label import Box, Label, Size, checked_label, parse_name, shown
from darkconv.dataset.locate import PicturesBelow, is_absolute
from darkconv.dataset.paths import (
    Bounds,
    above,
    folders_in,
    walk_files,
    walk_pictures,
)
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset, Sample
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.voc_sets import read_image_sets, split_lists
from darkconv.errors import DatasetError, Where
from darkconv.files.outputs import note_input

FORM = "Pascal VOC"
ANNOTATION_FOLDERS = ("annotations", "labels", "xml", "xmls")
PICTURE_FOLDERS = ("jpegimages", "images", "data")
"""The folders of VOC and of other tools, in lower case: FiftyOne has `data` and `labels`."""
ROOT = "annotation"
XML = ".xml"
FORBIDDEN = ("<!DOCTYPE", "<!ENTITY")  # entities can exhaust the memory and read files

NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape")
"""Python's codecs that are no encodings of files, and that a file must not be able to choose."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_DECLARATION = re.compile(r"^\ufeff?\s*<\?xml[^>]*\?>")
_OBJECT = re.compile(r"<object[\s>/]")


@dataclass(frozen=True)
class Folders:
    """The folders of a VOC data set.

    Attributes:
        annotations: the folder of the XML files, which may lie in sub-folders.
        pictures: the folder of the pictures, in the same sub-folders.
    """

    annotations: Path
    pictures: Path

    @classmethod
    def inside(cls, root: Path) -> "Folders | None":
        """Return the folders in a data set's folder, or None if its layout is not VOC's.

        Args:
            root: the folder of the data set.
        """
        pictures = folders_in(root, PICTURE_FOLDERS)
        found = (cls(one, pictures[0]) for one in folders_in(root, ANNOTATION_FOLDERS) if pictures)
        return next((one for one in found if one.files()), None)

    @classmethod
    def of(cls, annotation: Path) -> "Folders":
        """Return the folders around a single XML file; the pictures may lie beside it.

        Args:
            annotation: the XML file of one picture.
        """
        folder = annotation.parent
        inside = cls.inside(above(folder))
        is_listed = inside is not None and inside.annotations.samefile(folder)
        return cls(folder, inside.pictures) if inside and is_listed else cls(folder, folder)

    def files(self) -> list[Path]:
        """Return all annotation files, sorted."""
        return [path for path in walk_files(self.annotations) if path.suffix.lower() == XML]

    def annotations_by_stem(self) -> dict[Path, Path]:
        """Return the annotation files by their stem: see `stem`."""
        return {self.stem(path): path for path in reversed(self.files())}

    def stem(self, annotation: Path) -> Path:
        """Return an annotation's path within the folder of annotations, without its suffix.

        Args:
            annotation: the path of the annotation.
        """
        return Path(os.path.relpath(annotation, self.annotations)).with_suffix("")

    def pictures_by_stem(self) -> dict[Path, list[Path]]:
        """Return the pictures by their path within the folder of pictures, without the suffix."""
        found: dict[Path, list[Path]] = {}
        for path in walk_pictures(self.pictures):
            found.setdefault(path.relative_to(self.pictures).with_suffix(""), []).append(path)
        return found


def set_source(path: Path, folders: Folders, options: Options) -> DatasetSource:
    """Return the source of a VOC data set.

    Args:
        path: the folder of the data set, or one of its image sets.
        folders: the folders of annotations and of pictures.
        options: the options of reading.
    """
    if options.images is not None:
        folders = replace(folders, pictures=options.images)
    lists = split_lists(folders.annotations.parent)
    if path.is_file():
        return DatasetSource(str(path), lambda _: _read_sets(str(path), [path], folders, options))
    parts = {} if lists else _by_folder(folders)

    def read(split: str | None) -> Dataset:
        if split is not None and split in parts:
            return read_voc(folders, parts[split], options, ReadingRecord(str(path)))
        chosen = None if split is None else [lists[split]]
        return _read_sets(str(path), chosen, folders, options)

    return DatasetSource(str(path), read, tuple(lists or parts))


def _by_folder(folders: Folders) -> dict[str, list[Path]]:
    """Return the annotations by the sub-folder that they lie in, which names their split."""
    found: dict[str, list[Path]] = {}
    for file in folders.files():
        place = folders.stem(file)
        if len(place.parts) > 1:
            found.setdefault(place.parts[0], []).append(file)
    return found


def _read_sets(
    source: str, lists: Sequence[Path] | None, folders: Folders, options: Options
) -> Dataset:
    """Read the pictures of some image sets, or the whole data set for None."""
    reading = ReadingRecord(source)
    annotations = folders.annotations_by_stem()
    if lists is None:
        every = split_lists(folders.annotations.parent).values()
        quiet = ReadingRecord(
            source
        )  # for a whole data set, missing entries of lists do not matter
        _, bare = read_image_sets(every, annotations, folders.pictures_by_stem(), quiet)
        reading.problems += [line for line in quiet.problems if line.startswith(f"{source}: ")]
        return read_voc(folders, None, options, reading, bare=bare)
    files, bare = read_image_sets(lists, annotations, folders.pictures_by_stem(), reading)
    return read_voc(folders, files, options, reading, bare=bare)


def annotation_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a single annotation.

    Args:
        path: the XML file; its picture lies beside it or in VOC's folder.
        options: the options of reading.
    """
    folders = Folders.of(path)
    if options.images is not None:
        folders = replace(folders, pictures=options.images)
    return DatasetSource(
        str(path), lambda _: read_voc(folders, [path], options, ReadingRecord(str(path)))
    )


def read_voc(
    folders: Folders,
    files: Sequence[Path] | None,
    options: Options,
    reading: ReadingRecord,
    *,
    bare: Sequence[Path] = (),
) -> Dataset:
    """Read the pictures and boxes of annotation files.

    The picture of an annotation is the one with the same stem; if there is none, or several with
    different suffixes, it is the one that `filename` states. `path` is never followed.

    Args:
        folders: the folders of the data set.
        files: the annotations to read; None for all.
        options: the options of reading; their class names come first.
        reading: the record to which problems and changes are reported.
        bare: pictures without annotation that count as empty.

    Returns:
        The data set; boxes are xyxy in pixels.
    """
    by_stem = folders.pictures_by_stem()
    below = None if options.images is None else PicturesBelow(options.images)
    samples = []
    for path in folders.files() if files is None else files:
        try:
            samples.append(read_annotation(path, folders, by_stem, options, reading, below=below))
            reading.found_labels(folders.annotations)
        except DatasetError as error:
            reading.skip(error, path)
    taken = {sample.image for sample in samples}
    samples += [Sample.of(image) for image in bare if image not in taken]
    unused = _unused(by_stem, folders, samples) if files is None else []
    if unused:
        total = sum(map(len, by_stem.values()))
        message = (
            f"no annotation for {len(unused)} of {total} pictures, which are left out, "
            f"the first is {unused[0]}"
        )
        reading.skip(DatasetError(message), folders.pictures)
    if samples:
        reading.found_names(folders.annotations)
    return reading.dataset(samples, options.names, form=FORM)


def _unused(
    by_stem: Mapping[Path, Sequence[Path]], folders: Folders, samples: Sequence[Sample]
) -> list[Path]:
    """Return the pictures without any annotation, sorted; a broken annotation counts as one."""
    used = {sample.image for sample in samples}
    annotated = set(map(folders.stem, folders.files()))
    return sorted(
        path
        for stem, paths in by_stem.items()
        for path in paths
        if path not in used and (stem not in annotated or len(paths) > 1)
    )


def read_annotation(
    path: Path,
    folders: Folders,
    by_stem: Mapping[Path, Sequence[Path]],
    options: Options,
    reading: ReadingRecord,
    *,
    below: PicturesBelow | None = None,
) -> Sample:
    """Return the picture of an annotation with its boxes.

    Args:
        path: the XML file of one picture.
        folders: the folders of the data set.
        by_stem: the pictures by stem: see `Folders.pictures_by_stem`.
        options: the options of reading.
        reading: the record to which problems and changes are reported.
        below: the search in the folder of pictures that the user named; None if there is none.

    Raises:
        DatasetError: the annotation cannot be read, or its picture is missing.
    """
    text = read_xml(path)
    root = parse_xml(text)
    images = by_stem.get(folders.stem(path), ())
    if len(images) > 1:
        told = (root.findtext("filename") or "").strip()
        images = [one for one in images if one.name == told] or images
    image = images[0] if images else _by_filename(path, root, folders, options, below)
    marks = []
    objects = root.findall("object")
    for element, line in zip(objects, object_lines(text, len(objects)), strict=True):
        try:
            place = f"{path}:{line}" if line else str(path)
            marks.append(Mark(parse_object(element), place))
        except DatasetError as error:
            reading.skip(error, path, line)
    return fit_labels(image, marks, parse_size(root), reading)


def _by_filename(
    path: Path,
    root: ElementTree.Element,
    folders: Folders,
    options: Options,
    below: PicturesBelow | None,
) -> Path:
    """Return the picture that an annotation's `filename` states, even by a path of another machine.

    Raises:
        DatasetError: the picture does not exist, or lies outside the bounds.
    """
    name = (root.findtext("filename") or "").strip() or f"{path.stem}.jpg"
    if below is not None:
        return below.find(name)
    places = (folders.pictures, path.parent)
    bounds = Bounds.around(path, outside=options.outside)
    try:
        return bounds.find(name, places)
    except DatasetError:
        last = name.replace("\\", "/").rpartition("/")[2]
        here = [folder / last for folder in places if os.path.isfile(folder / last)]
        if not is_absolute(name) or not here:
            raise
        return bounds.find(last, places)


def read_xml(path: Path) -> str:
    """Return the text of an annotation, decoded from the encoding that it declares.

    Args:
        path: the XML file of one picture.

    Raises:
        DatasetError: the file cannot be read, or its encoding is unknown.
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
    """Return the root element of an annotation.

    Args:
        text: the text of the file.

    Raises:
        DatasetError: the XML is broken, is another document, or has a document type or an entity,
            which no annotation needs.
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
    """Return the line number of each object, from 1.

    Args:
        text: the text of the annotation.
        count: the number of objects that were parsed.

    Returns:
        None for each object where comments make the numbers uncertain.
    """
    lines = [text.count("\n", 0, match.start()) + 1 for match in _OBJECT.finditer(text)]
    return lines if len(lines) == count else [None] * count


def parse_size(root: ElementTree.Element) -> Size | None:
    """Return (width, height) in pixels, or None if the annotation has no valid size.

    Args:
        root: the root element of the annotation.
    """
    try:
        width, height = (int(root.findtext(f"size/{key}", "0")) for key in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def parse_object(element: ElementTree.Element) -> Label:
    """Return the label of an object; the boxes of its parts are not read.

    Args:
        element: an `object` element of the annotation.

    Returns:
        The label with its box xyxy in pixels, as it stands in the file.

    Raises:
        DatasetError: the object has no name or no box, or the box is not valid.
    """
    name = parse_name(element.findtext("name"))
    try:
        difficult = element.findtext("difficult", "0").strip() == "1"
        return checked_label(name, parse_box(element), difficult=difficult)
    except DatasetError as error:
        raise DatasetError(name, expected=error.expected, found=error.found) from None


def parse_box(element: ElementTree.Element) -> Box:
    """Return the numbers of a `bndbox`.

    Args:
        element: an `object` element of the annotation.

    Returns:
        xyxy in pixels, as they stand in the file.

    Raises:
        DatasetError: a number is missing or not valid.
    """
    texts = [element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(text or "") for text in texts)
    except ValueError:
        found = shown(",".join(text or "nothing" for text in texts))
        raise DatasetError(expected="xmin, ymin, xmax and ymax", found=found) from None
    return x0, y0, x1, y1
