"""darkflow's dissection sections: a cfg that says which rows of another network it takes.

`[conv-extract]` and `[extract]` take channels of a convolutional and a connected layer by index
lists from a profile; `[conv-select]` and `[select]` take classes of the last layer:

    [conv-extract]           [extract]               [select]                  [conv-select]
    profile=p.json           profile=p.json          old_output=1470           filters=125
    input=0                  input=8                 keep=8,14,15,19/20        keep=8,14/20
    output=1                 output=9                bins=49
    filters=32               old=7,7,1024,256        output=686

`filters`, `old` (rows, columns, channels, outputs; or inputs, outputs) and `old_output` are the
sizes of the original layer. `input` and `output` are numbers of index lists in the profile, or -1
for all channels. `keep` lists classes and, after the slash, the original number of classes. The
output of a `[select]` layer holds these classes once for each of `bins` cells, then confidences and
boxes, all of which are kept.

Reading such a cfg with the original's weights gives the smaller model as plain Darknet. darkflow
itself does not cut the batch norm arrays in `[conv-extract]`; darkconv does.
"""

import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.core.model import Model
from darkconv.core.options import INT_LIMIT, option_place
from darkconv.core.removal import Channels, inputs_of, keep_channels, surviving_channels
from darkconv.core.section import Config, Section
from darkconv.darknet.data import find_beside
from darkconv.errors import OptionError, PlanError, Where
from darkconv.files.archive import NPY_SUFFIX, open_archive

Profile = Mapping[int, Channels]

BOX_ENTRIES = 5
"""Number of an anchor's rows before its classes in YOLOv2's last layer."""
OWN_OPTIONS = ("profile", "input", "keep", "bins", "old", "old_output")
HEADS = ("region", "detection")
LARGEST_PROFILE = 2**28  # bytes of an unpacked npz file


@dataclass(frozen=True)
class LayerDissection:
    """The content of one dissection section.

    Attributes:
        section: the section of the original layer, as plain Darknet.
        outputs: function that returns the output channels to keep; it is called only when the
            weights, which prove the sizes, have been read. None for all channels.
        inputs: the input channels that the section expects to be kept; None if it does not say.
        classes: number of classes of the original network if the section takes classes, else None.
    """

    section: Section
    outputs: Callable[[], Channels] | None
    inputs: Channels | None = None
    classes: int | None = None


@dataclass(frozen=True)
class DarkflowDissection:
    """The content of a cfg with dissection sections.

    Attributes:
        original: the cfg of the network that the weights belong to.
        cuts: what each section takes, by layer index.
        head_options: options of the heads for the kept classes, by layer index.
    """

    original: Config
    cuts: Mapping[int, LayerDissection]
    head_options: Mapping[int, Mapping[str, object]] = field(default_factory=dict)


def is_dissection(config: Config) -> bool:
    """Return True if a cfg has dissection sections.

    Args:
        config: the text of the cfg, as data.
    """
    return any(section.name in READERS for section in config.sections)


def read_dissection(config: Config) -> DarkflowDissection:
    """Read the dissection sections of a cfg.

    Args:
        config: the text of the cfg, as data.

    Raises:
        OptionError: an option is missing or has an unusable value.
        PlanError: a profile cannot be read.
    """
    sections, cuts = list(config.sections), {}
    head_options: dict[int, Mapping[str, object]] = {}
    classes: int | None = None
    for index, section in enumerate(config.sections[1:]):
        where = Where(file=config.file, line=section.number, layer=index, section=section.name)
        if section.name in READERS:
            reader = SectionReader(section, where, config.file)
            cuts[index] = cut = READERS[section.name](reader)
            sections[index + 1] = cut.section
            classes = cut.classes or classes
        elif section.name in HEADS and classes is not None:
            head_options[index] = {"classes": section.get("classes")}
            sections[index + 1] = section.set({"classes": classes})
    return DarkflowDissection(replace(config, sections=tuple(sections)), cuts, head_options)


def apply_dissection(model: Model, dissection: DarkflowDissection) -> Model:
    """Return the smaller model that a dissection describes, as plain Darknet.

    Args:
        model: the original model, which stays unchanged.
        dissection: says which channels to keep.

    Raises:
        PlanError: a section expects other input channels than the layers before it keep.
        GraphError: the head does not fit the kept channels.
    """
    kept = {index: cut.outputs() for index, cut in dissection.cuts.items() if cut.outputs}
    network = model.network
    left = surviving_channels(network, kept)
    for index, cut in dissection.cuts.items():
        found = inputs_of(network.layers[index], left)
        if cut.inputs is not None and not np.array_equal(cut.inputs, found):
            raise PlanError(
                where=network.where(index, "input"),
                expected=f"{len(cut.inputs)} input channels of the profile",
                found=f"{len(found)} that the layers before it keep, or others",
            )
    return keep_channels(model, kept, options=dissection.head_options)


class SectionReader:
    """Reads the options of one section; its errors name the place of the option."""

    def __init__(self, section: Section, where: Where, cfg: str | None) -> None:
        self.section = section
        self.where = where
        self.cfg = cfg

    def text(self, key: str) -> str:
        """Return the text of an option.

        Args:
            key: name of the option.

        Raises:
            OptionError: the option is missing.
        """
        value = self.section.get(key)
        if value is None:
            raise OptionError("is missing", where=self.place(key))
        return value

    def place(self, key: str) -> Where:
        """Return the place of an option in the cfg.

        Args:
            key: name of the option.
        """
        line = self.section.options().get(key)
        return option_place(line, self.where) if line else replace(self.where, option=key)

    def numbers(self, key: str, text: str | None = None) -> list[int]:
        """Return the whole numbers of an option that is a list.

        Args:
            key: name of the option.
            text: the part of its text to read; None for the whole.

        Raises:
            OptionError: the text is no list of whole numbers that C can hold, or is missing.
        """
        value = self.text(key) if text is None else text
        try:
            numbers = [int(item) for item in value.split("#", 1)[0].split(",")]
        except ValueError:
            raise OptionError(
                where=self.place(key), expected="whole numbers", found=value
            ) from None
        if not all(abs(number) <= INT_LIMIT for number in numbers):
            raise OptionError(
                where=self.place(key), expected="numbers that C can hold", found=value
            )
        return numbers

    def number(self, key: str) -> int:
        """Return the whole number of an option; of a list, the first.

        Args:
            key: name of the option.

        Raises:
            OptionError: the option is no whole number, or is missing.
        """
        return self.numbers(key)[0]

    def count(self, key: str) -> int:
        """Return the whole number of an option, which must be at least 1.

        Args:
            key: name of the option.

        Raises:
            OptionError: the option is no whole number, less than 1, or missing.
        """
        count = self.number(key)
        if count < 1:
            raise OptionError(where=self.place(key), expected="1 or more", found=count)
        return count

    def kept_classes(self) -> tuple[list[int], int]:
        """Return the classes and the total of `keep=8,14/20`.

        Returns:
            The indices (from 0) of the classes to keep, and the original number of classes.

        Raises:
            OptionError: the option is missing or malformed, or a class does not exist.
        """
        names, _, total = self.text("keep").partition("/")
        kept, classes = self.numbers("keep", names), self.numbers("keep", total or "none")[0]
        if not all(0 <= k < classes for k in kept):
            raise OptionError(
                where=self.place("keep"), expected=f"classes below {classes}", found=names
            )
        return kept, classes

    def indices(self, key: str, profile: str, number: int) -> Channels | None:
        """Return an index list of a profile; None if its number is negative.

        Args:
            key: name of the option that asks for it, used in messages.
            profile: file name of the profile, as in the cfg.
            number: number of the list in the profile; -1 stands for all channels.

        Returns:
            int64 channel indices, from 0.

        Raises:
            OptionError: the profile was not found, or has no such list.
            PlanError: the profile cannot be read.
        """
        if number < 0:
            return None
        lists = read_profile(self._found(key, profile))
        if number not in lists:
            raise OptionError(
                where=self.place(key),
                expected=f"a list of {profile}, which has {sorted(lists)}",
                found=number,
            )
        return lists[number]

    def _found(self, key: str, profile: str) -> Path:
        path = find_beside(profile, self.cfg)
        if path is None:
            raise OptionError(
                f"{profile} was not found beside the cfg, above it or in the working folder",
                where=self.place(key),
            )
        return path

    def plain(self, name: str, **options: object) -> Section:
        """Return the section with another type and without the options of dissection.

        Args:
            name: the section type of plain Darknet.
            options: options to set.
        """
        return self.section.without((*OWN_OPTIONS, "output")).renamed(name).set(options)


def read_conv_extract(reader: SectionReader) -> LayerDissection:
    """Read [conv-extract], which takes channels of a convolutional layer.

    Args:
        reader: reads the options of the section.

    Raises:
        OptionError, PlanError: see `SectionReader.indices`.
    """
    profile = reader.text("profile")
    outputs = reader.indices("output", profile, reader.number("output"))
    inputs = reader.indices("input", profile, reader.number("input"))
    return LayerDissection(reader.plain("convolutional"), _given(outputs), inputs)


def read_extract(reader: SectionReader) -> LayerDissection:
    """Read [extract], which takes outputs of a connected layer.

    Its inputs are channels of a feature map, or values of a vector.

    Args:
        reader: reads the options of the section.

    Raises:
        OptionError: an option is missing or has an unusable value.
        PlanError: the profile cannot be read.
    """
    profile, old = reader.text("profile"), reader.numbers("old")
    if len(old) not in (2, 4):
        raise OptionError(
            where=reader.place("old"),
            expected="rows, columns, channels and outputs, or inputs and outputs",
            found=reader.text("old"),
        )
    outputs = reader.indices("output", profile, reader.number("output"))
    inputs = reader.indices("input", profile, reader.number("input"))
    return LayerDissection(reader.plain("connected", output=old[-1]), _given(outputs), inputs)


def _given(outputs: Channels | None) -> Callable[[], Channels] | None:
    return None if outputs is None else lambda: outputs


def read_select(reader: SectionReader) -> LayerDissection:
    """Read [select], which takes classes of YOLOv1's last layer.

    The classes are kept in every cell, and so are all confidences and boxes.

    Args:
        reader: reads the options of the section.

    Raises:
        OptionError: an option is missing or has an unusable value.
        PlanError: the profile cannot be read.
    """
    kept, classes = reader.kept_classes()
    bins, old = reader.count("bins"), reader.count("old_output")
    if old < bins * classes:
        raise OptionError(
            where=reader.place("old_output"), expected=f"{bins * classes} or more", found=old
        )

    def outputs() -> Channels:
        scores = np.add.outer(np.arange(bins) * classes, np.array(kept)).ravel()
        return np.concatenate([scores, np.arange(bins * classes, old)])

    count = old - bins * (classes - len(kept))
    if reader.section.get("output") and reader.number("output") != count:
        raise OptionError(
            where=reader.place("output"), expected=count, found=reader.number("output")
        )
    inputs = None
    if reader.section.get("input"):
        profile, _, number = reader.text("input").partition(",")
        inputs = reader.indices("input", profile, reader.numbers("input", number)[0])
    return LayerDissection(reader.plain("connected", output=old), outputs, inputs, classes)


def read_conv_select(reader: SectionReader) -> LayerDissection:
    """Read [conv-select], which takes classes of YOLOv2's last layer.

    The box entries and the kept classes of each anchor are kept.

    Args:
        reader: reads the options of the section.

    Raises:
        OptionError: an option is missing or has an unusable value.
    """
    kept, classes = reader.kept_classes()
    count, entries = reader.count("filters"), BOX_ENTRIES + classes
    if count % entries:
        raise OptionError(
            where=reader.place("filters"), expected=f"a multiple of {entries}", found=count
        )

    def outputs() -> Channels:
        rows = [*range(BOX_ENTRIES), *(BOX_ENTRIES + k for k in kept)]
        starts = np.arange(0, count, entries)
        channels: Channels = np.add.outer(starts, np.array(rows)).ravel()
        return channels

    return LayerDissection(reader.plain("convolutional"), outputs, None, classes)


READERS: dict[str, Callable[[SectionReader], LayerDissection]] = {
    "conv-extract": read_conv_extract,
    "extract": read_extract,
    "select": read_select,
    "conv-select": read_conv_select,
}


def read_profile(path: Path) -> Profile:
    """Read the index lists of a profile, by number.

    Args:
        path: a JSON file (a list of lists, or an object of lists), or an `.npz` file.

    Returns:
        int64 channel indices (from 0) by the number of the list.

    Raises:
        PlanError: the file has another format or cannot be read. Pickles are refused too, because
            reading one could run code.
    """
    where = Where(file=os.fspath(path))
    try:
        data = path.read_bytes()
        if data[:1] == b"\x80" or data[:2] in (b"(l", b"(d"):
            raise PlanError(
                "is a Python pickle, which is not read because reading it could run code",
                where=where,
                hint="write its index lists as JSON: [[0, 3, 4], [1, 2]]",
            )
        lists = _npz(data) if data[:2] == b"PK" else _json(data)
        return {int(number): _channels(indices) for number, indices in lists.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PlanError(f"cannot be read as index lists: {error}", where=where) from error


def _channels(indices: Any) -> Channels:
    found = np.array(indices)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise ValueError("they are no lists of whole numbers")
    return found.astype(np.int64)


def _json(data: bytes) -> Mapping[Any, Any]:
    lists = json.loads(data)
    return dict(enumerate(lists)) if isinstance(lists, list) else lists


def _npz(data: bytes) -> Mapping[Any, Any]:
    with open_archive(io.BytesIO(data), most=LARGEST_PROFILE) as archive:
        names = [member.removesuffix(NPY_SUFFIX) for member in archive.members]
        return {name.removeprefix("arr_"): archive.read_array(name) for name in names}
