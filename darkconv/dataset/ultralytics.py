"""Read data sets that a data.yaml describes: Ultralytics', Roboflow's, CVAT's, Label Studio's."""

import os
from collections.abc import Iterator
from pathlib import Path

from darkconv.darknet.data import read_names
from darkconv.dataset.darknet import read_difficult, read_list, read_pictures
from darkconv.dataset.description import Description, read_description
from darkconv.dataset.label import parse_count, shown
from darkconv.dataset.locate import Locator, is_absolute, tails
from darkconv.dataset.names import NamesNear
from darkconv.dataset.paths import Bounds, above, tidy, walk_pictures
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.unread import tell_of_orphans
from darkconv.errors import DatasetError, Where
from darkconv.pictures.image_file import is_picture

FORM = "data.yaml, as Ultralytics has it"


def yaml_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a `data.yaml`.

    Args:
        path: the YAML file; its pictures are listed when a split is opened.
        options: the options of reading.

    Raises:
        DatasetError: the file cannot be read, or describes no pictures.
    """
    description = read_description(path)
    if not description.splits:
        where = Where(file=str(path))
        raise DatasetError(where=where, expected="train:, val: or test:", found="none of them")

    def read(split: str | None) -> Dataset:
        return _Reader(description, options, ReadingRecord(str(path))).read(split)

    return DatasetSource(str(path), read, tuple(description.splits))


class _Reader:
    """The reader of a description's splits."""

    def __init__(self, description: Description, options: Options, reading: ReadingRecord) -> None:
        self.description = description
        self.options = options
        self.reading = reading
        self.file = description.file
        self.bounds = Bounds.around(self.file, outside=options.outside)
        self.roots = list(dict.fromkeys((*self._root(), self.file.parent)))
        names = self._names()
        numbers = None if names else self._numbers()
        self.names_of = NamesNear(names, self.file.parent, reading, fallback=numbers)

    def read(self, split: str | None) -> Dataset:
        """Read a split, or all of them with each picture once."""
        chosen = tuple(self.description.splits) if split is None else (split,)
        images: dict[Path, None] = {}
        difficult: dict[Path, Path] = {}
        for key in chosen:
            for entry in self.description.splits[key]:
                try:
                    images.update(dict.fromkeys(self._pictures(key, entry, difficult)))
                except DatasetError as error:
                    if split is not None:
                        raise error.at(Where(file=str(self.file), option=key)) from None
                    self.reading.skip(error, self.file, part=key)
        samples = read_pictures(
            images,
            self.names_of,
            self.reading,
            difficult=difficult,
            has_keypoints=self.description.has_keypoints,
        )
        tell_of_orphans(self.reading)
        return self.reading.dataset(
            samples, self.names_of.all(), form=FORM, numbered=self.names_of.is_one_list
        )

    def _pictures(self, key: str, entry: str, difficult: dict[Path, Path]) -> Iterator[Path]:
        """Yield the pictures of a folder or list, and record the files of difficult labels."""
        place = self._find(entry)
        if place.is_dir():
            yield from walk_pictures(place)
        elif is_picture(place):
            yield place
        else:
            images = read_list(place, self._locator(place, self.options.images), self.reading)
            yield from images.values()
            others = self.description.difficult.get(key)
            if others is not None:
                own = self._find(others)
                difficult.update(read_difficult(own, images, self._locator(own, None)))

    def _locator(self, listed: Path, images: Path | None) -> Locator:
        return Locator(
            listed,
            self.file,
            outside=self.options.outside,
            reading=self.reading,
            images=images,
            roots=self.roots,
        )

    def _root(self) -> Iterator[Path]:
        """Yield the folder that `path` states, if it exists."""
        told = self.description.folder
        if told is None:
            return
        spelled = told.replace("\\", "/")
        places = [self.file.parent / one for one in _without_ups(spelled)]
        if not is_absolute(told):
            places[1:1] = Path(spelled), above(self.file.parent) / spelled
        found = next(filter(os.path.isdir, places), None)
        if found is not None:
            yield found
        else:
            self.reading.note(
                f"{self.file}: path {shown(told)} leads nowhere, so the file's own folder counts"
            )

    def _find(self, entry: str) -> Path:
        """Return the folder or list that an entry of a split stands for.

        Raises:
            DatasetError: there is no such folder or list, or it lies outside the bounds.
        """
        images = self.options.images
        places = self._places(entry) if images is None else self._in_images(images, entry)
        found = next(filter(os.path.exists, places), None)
        if found is None:
            raise DatasetError(f"no such folder or list: {shown(entry)}")
        if images is None and not self.bounds.hold(found):
            raise self.bounds.refusal(entry)
        return tidy(found)

    def _places(self, entry: str) -> Iterator[Path]:
        """Yield the paths that an entry may stand for.

        Roboflow writes `../train/images` for a folder beside the file. If there is a description of
        the same name one folder up, `../train` belongs to that other data set.
        """
        spelled = entry.replace("\\", "/")
        for number, one in enumerate(_without_ups(spelled)):
            for root in self.roots:
                is_others = spelled.startswith("../") and (above(root) / self.file.name).exists()
                if number > 0 or not is_others:
                    yield root / one
        if is_absolute(entry):
            yield from (root / tail for tail in tails(entry) for root in self.roots)
        yield from (root / spelled for root in self.roots)

    def _in_images(self, images: Path, entry: str) -> Iterator[Path]:
        """Yield the paths that an entry may stand for in the user's folder of pictures."""
        if Path(entry).suffix:
            yield from self._places(entry)
        yield from (images / tail for tail in tails(entry))
        yield images

    def _names(self) -> tuple[str, ...] | None:
        """Return the class names.

        Raises:
            DatasetError: the names file that the description states cannot be read.
        """
        description = self.description
        if self.options.names:
            return self.options.names
        names = description.names
        if names:
            self.reading.found_names(self.file)
        elif description.names_path:
            file = self._find(description.names_path)
            names = read_names(file).names
            self.reading.found_names(file)
        count = description.count
        if names and count and count != str(len(names)):
            expected = f"{len(names)}, as many as there are names"
            self.reading.skip(DatasetError(expected=expected, found=count), self.file, part="nc")
        return names

    def _numbers(self) -> tuple[str, ...] | None:
        """Return the class indices as texts if only the number of classes is stated."""
        count = self.description.count
        if count is None:
            return None
        try:
            return tuple(map(str, range(parse_count(count))))
        except DatasetError as error:
            self.reading.skip(error, self.file, part="nc")
            return None


def _without_ups(path: str) -> Iterator[str]:
    """Yield a path, and then without each leading `../`."""
    yield path
    while path.startswith(("../", "./")):
        path = path.partition("/")[2]
        yield path
