"""Read lists of pictures, with or without boxes, and the files that describe such lists."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from darkconv.dataset import voc
from darkconv.dataset.darknet import read_difficult, read_list, read_pictures
from darkconv.dataset.lines import has_boxes, read_lines
from darkconv.dataset.locate import Locator
from darkconv.dataset.names import NamesNear
from darkconv.dataset.paths import read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.unread import tell_of_orphans
from darkconv.dataset.voc_sets import FOLDERS

LIST = "a list of pictures"
LIST_WITH_BOXES = "a list of pictures with their boxes"


@dataclass(frozen=True, kw_only=True)
class ListDescription:
    """The files that name a list, and what they state about it.

    Attributes:
        files: the `.data` or `data.yaml` that names the list, if there is one.
        roots: folders to which paths may be relative, before those of the files.
        difficult: the list of difficult labels; None if there is none.
        has_keypoints: True if keypoints follow the boxes in the labels.
    """

    files: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    difficult: Path | None = None
    has_keypoints: bool = False


def list_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a list of pictures, or of the VOC data set whose image set the list is.

    Args:
        path: the list file, which is read when the source is opened.
        options: the options of reading.
    """
    for place in FOLDERS:
        count = len(place.parts)
        if path.absolute().parent.parts[-count:] == place.parts:
            folders = voc.Folders.inside(path.absolute().parents[count])
            if folders:
                return voc.set_source(path, folders, options)

    def read(split: str | None) -> Dataset:
        reading = ReadingRecord(str(path))
        names_of = NamesNear(options.names, path.parent, reading)
        return read_listed([path], names_of, options, ListDescription(), reading, form=LIST)

    return DatasetSource(str(path), read)


def read_listed(
    lists: Iterable[Path],
    names_of: NamesNear,
    options: Options,
    naming: ListDescription,
    reading: ReadingRecord,
    *,
    form: str,
) -> Dataset:
    """Read the pictures of lists; a picture that is listed twice counts twice.

    Args:
        lists: the list files, each with or without boxes.
        names_of: finds the class names of labels.
        options: the options of reading.
        naming: the files that name the lists.
        reading: the record to which problems and changes are reported.
        form: the name of the layout.

    Raises:
        DatasetError: a list or a names file cannot be read.
    """
    samples = []
    for path in lists:
        locator = Locator(
            path,
            *naming.files,
            outside=options.outside,
            reading=reading,
            images=options.images,
            roots=naming.roots,
        )
        if has_boxes(read_text(path)):
            samples += read_lines(path, names_of, locator, reading)
            reading.found_labels(path)
            continue
        images = read_list(path, locator, reading)
        difficult: dict[Path, Path] = {}
        if naming.difficult is not None:
            own = Locator(naming.difficult, *naming.files, outside=options.outside, reading=reading)
            difficult = read_difficult(naming.difficult, images, own)
        samples += read_pictures(
            images.values(),
            names_of,
            reading,
            difficult=difficult,
            has_keypoints=naming.has_keypoints,
        )
    tell_of_orphans(reading)
    names = names_of.all()
    return reading.dataset(samples, names, form=form, numbered=names_of.is_one_list)
