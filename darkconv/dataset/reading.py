"""Reading: what a data set says of itself while it is read, and what had to be changed or left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darkconv.dataset.label import problem
from darkconv.dataset.sample import Dataset, Layout, Sample, order_names
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
"""What is done to labels so that they fit, in words; each is told once, with a count."""


@dataclass
class Reading:
    """A data set while it is read.

    Attributes:
        source: what the user called it.
        problems: what was skipped, one line each.
        changes: for the keys of `CHANGES`, what was changed, one line each.
        notes: what else the user should know, one line each.
        labels: folders or files that labels were found in, with the pictures of each.
        label_files: those of one picture that were read, and the picture of each.
        names_from: files that class names were read from.
        tools: which wrote labels, where the files tell.
        has_own_names: True if labels have names that are not of a list.
        beyond: numbers of classes that have no name.
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
        """Report an entry that cannot be used; see `problem`."""
        self.problems.append(problem(error, file, line, part=part))

    def change(self, kind: str, line: str) -> None:
        """Report something of `CHANGES`."""
        self.changes.setdefault(kind, []).append(one_line(line))

    def note(self, line: str) -> None:
        """Tell the user something, once."""
        if (text := one_line(line)) not in self.notes:
            self.notes.append(text)

    def found_labels(self, place: PathLike) -> None:
        """Count a picture whose labels lie in a folder or file."""
        self.labels[str(place)] = self.labels.get(str(place), 0) + 1

    def found_names(self, file: PathLike) -> None:
        """Remember a file that names classes."""
        self.names_from[str(file)] = None

    def dataset(
        self,
        samples: Sequence[Sample],
        names: Sequence[str] | None,
        *,
        form: str,
        numbered: bool = False,
    ) -> Dataset:
        """Return the data set, read to its end.

        Args:
            samples: its pictures.
            names: classes to put first, in this order.
            form: the name of its layout.
            numbered: True if its labels are numbers of `names`.
        """
        layout = Layout(
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
    """Return changes in the order of `CHANGES`."""
    return {kind: tuple(changes[kind]) for kind in CHANGES if changes.get(kind)}


def united_changes(parts: Sequence[Dataset]) -> dict[str, tuple[str, ...]]:
    """Return the changes of several data sets."""
    return frozen(
        {kind: [line for part in parts for line in part.changes.get(kind, ())] for kind in CHANGES}
    )


def told_changes(dataset: Dataset) -> list[str]:
    """Return a line for each kind of change: what, how often, and the first."""
    return [
        f"{dataset.source}: {CHANGES[kind]}: {len(lines):,}, the first is {lines[0]}"
        for kind, lines in dataset.changes.items()
    ]
