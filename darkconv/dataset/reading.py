"""The record of reading a data set: where its parts come from, and what was changed or skipped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darkconv.dataset.label import problem
from darkconv.dataset.sample import Dataset, DatasetLayout, Sample, order_names
from darkconv.errors import DatasetError, one_line
from darkconv.files import PathLike

CHANGES = {
    "size": "pictures of another size than their annotations say, to which the boxes are scaled",
    "turned": "pictures that EXIF turns after they were annotated, with which the boxes are turned",
    "swapped": "pictures of which annotations exchange width and height, with boxes as they are",
    "outside": "boxes that leave their picture, which are clipped",
    "beyond": "boxes with their centre outside their picture, which are left out",
    "polygons": "polygons, of which the enclosing boxes are read",
    "keypoints": "lines with keypoints, of which the boxes are read",
    "orphans": "label files without a picture, which are not read",
    "unread": "files that may hold labels, which are not read",
    "moved": "paths that lead nowhere, of which the last parts were found here",
    "numbered": "names that several classes of a list share, whose numbers tell them apart",
    "namesakes": "classes that share a name, whose boxes are put together",
    "merged": "pictures that are there or listed several times, whose boxes are put together",
}
"""The kinds of changes to labels, in words; each kind is reported once, with a count."""


@dataclass
class ReadingRecord:
    """The record of reading a data set.

    Attributes:
        source: the path as the user gave it.
        problems: what was skipped, a line each.
        changes: what was changed, a line each, by the keys of `CHANGES`.
        notes: what else the user should know, a line each.
        labels: the folders or files in which labels were found, with the number of pictures of
            each.
        label_files: the label files of single pictures that were read, with the picture of each.
        names_from: the files that class names were read from.
        tools: the tools that wrote the labels, where the files state them.
        has_own_names: True if a label has a class name that is not in a list of names.
        beyond: the class indices that have no name.
        has_first_class: True if a label is of class 0.
    """

    source: str
    problems: list[str] = field(default_factory=list)
    changes: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    label_files: dict[Path, Path] = field(default_factory=dict)
    names_from: dict[str, None] = field(default_factory=dict)
    tools: dict[str, None] = field(default_factory=dict)
    has_own_names: bool = False
    beyond: set[float] = field(default_factory=set)
    has_first_class: bool = False

    def skip(
        self,
        error: DatasetError,
        file: PathLike,
        line: int | None = None,
        *,
        part: str | None = None,
    ) -> None:
        """Report an entry that cannot be used; see `problem`.

        Args:
            error: the fault, without the place, which is added here.
            file: the file with the entry.
            line: the line number, from 1; None if unknown.
            part: the place in a file without meaningful lines, such as `images[3]`.
        """
        self.problems.append(problem(error, file, line, part=part))

    def change(self, kind: str, line: str) -> None:
        """Report a change that was made to labels.

        Args:
            kind: a key of `CHANGES`.
            line: what was changed, with its place.
        """
        self.changes.setdefault(kind, []).append(one_line(line))

    def note(self, line: str) -> None:
        """Add a note for the user, unless it was added before.

        Args:
            line: the note, as one sentence or more.
        """
        if (text := one_line(line)) not in self.notes:
            self.notes.append(text)

    def found_labels(self, place: PathLike) -> None:
        """Count a picture whose labels were found.

        Args:
            place: the folder or file with the labels.
        """
        self.labels[str(place)] = self.labels.get(str(place), 0) + 1

    def found_names(self, file: PathLike) -> None:
        """Record a file that class names were read from.

        Args:
            file: a names file, or a description with names.
        """
        self.names_from[str(file)] = None

    def dataset(
        self,
        samples: Sequence[Sample],
        names: Sequence[str] | None,
        *,
        form: str,
        numbered: bool = False,
    ) -> Dataset:
        """Return the data set, after everything was read.

        Args:
            samples: the pictures in the data set's order.
            names: the class names that come first, in this order; None for none.
            form: the name of its layout.
            numbered: True if its labels are indices into `names`.
        """
        layout = DatasetLayout(
            source=self.source,
            form=form,
            names_from=tuple(self.names_from),
            labels_from=tuple(self.labels),
            numbered=numbered and not self.has_own_names,
        )
        return Dataset(
            samples=tuple(samples),
            names=order_names(samples, names),
            source=self.source,
            problems=tuple(self.problems),
            changes=frozen(self.changes),
            notes=tuple(self.notes),
            layouts=(layout,),
        )


def frozen(changes: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return changes in the order of `CHANGES`, without empty kinds.

    Args:
        changes: the lines of each kind.
    """
    return {kind: tuple(changes[kind]) for kind in CHANGES if changes.get(kind)}


def united_changes(parts: Sequence[Dataset]) -> dict[str, tuple[str, ...]]:
    """Return the changes of several data sets together.

    Args:
        parts: data sets that are read together.
    """
    return frozen(
        {kind: [line for part in parts for line in part.changes.get(kind, ())] for kind in CHANGES}
    )


def told_changes(dataset: Dataset) -> list[str]:
    """Return a line for each kind of change: the kind, the count and the first change.

    Args:
        dataset: a data set that was read.
    """
    return [
        f"{dataset.source}: {CHANGES[kind]}: {len(lines):,}, the first is {lines[0]}"
        for kind, lines in dataset.changes.items()
    ]
