"""Define PICTURES on the command line: the sources, and the choice of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from darkconv.console.files import InputFile
from darkconv.console.given import refuse
from darkconv.console.options import options_as
from darkconv.console.renamed import option
from darkconv.console.values import read_pairs
from darkconv.core.names import split_names
from darkconv.dataset import ClassifiedDataset, Dataset, for_model
from darkconv.dataset.for_model import Described, HasClassNames, Selection, open_for_model
from darkconv.options.params import Word

OWN = ""
"""The value of --only-classes without a list."""
KINDS = (
    "pictures, folders, patterns such as 'photos/*.jpg', lists, data.yaml, Darknet's .data, VOC, "
    "COCO's .json and the folders of labelling tools"
)
"""The kinds of sources of pictures, for help texts."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """The choice of pictures of the sources.

    Attributes:
        only_classes: names with commas between; `OWN` for the classes that the command is
            about; None for all pictures.
        data_names: file of the class names of Darknet's labels, where the source has none.
        split: part of the source, such as `train`.
        outside: True to follow paths that lead outside the data set's folder.
        limit: number of pictures to take, evenly spread; None for all.
        images_folder: folder of the pictures, if the sources do not say it.
        rename: `A=B,C=D`, other names for classes of the labels.
        partly: True to allow names in `rename` that the data set does not have.
    """

    only_classes: str | None = None
    data_names: Path | None = None
    split: str | None = None
    outside: bool = False
    limit: int | None = None
    images_folder: Path | None = None
    rename: str | None = None
    partly: bool = False

    def selection(self, wanted: Sequence[str] = (), known: Sequence[str] = ()) -> Selection:
        """Return the choice as Python's functions take it.

        Args:
            wanted: the classes that `OWN` stands for.
            known: names of classes, which may have commas.
        """
        names = split_names(self.only_classes or "", known) or wanted
        return Selection(
            only=None if self.only_classes is None else names,
            names=self.data_names,
            split=self.split,
            images=self.images_folder,
            outside=self.outside,
            rename=None if self.rename is None else read_pairs(self.rename, "--rename"),
            partly=self.partly,
            limit=self.limit,
        )


PICTURE_NAMES = tuple(field.name for field in fields(PictureOptions))
"""Names of the parameters that `picture_options` adds."""


data_option = click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    type=Word(),
    metavar="D",
    help=f"Labelled pictures: {KINDS}.",
)


def images_option(was: str | None = None) -> Callable[..., Any]:
    """Return the option for the folder of the pictures.

    Args:
        was: an old name of the option; None for none.
    """
    return option(
        "--data-images",
        "images_folder",
        was=was,
        type=InputFile(file_okay=False, exists=True),
        metavar="DIR",
        help="Folder of the pictures, if the paths in the data set do not lead there.",
    )


outside_option = click.option(
    "--outside", is_flag=True, help="Follow paths that lead outside the data set's folder."
)


def names_option(*spellings: str, was: str | None = None) -> Callable[..., Any]:
    """Return the option that names the classes of the labels.

    Args:
        spellings: the parameter's name, where it is not `data_names`.
        was: an old name of the option; None for none.
    """
    return option(
        "--data-names",
        *spellings,
        was=was,
        type=InputFile(dir_okay=False),
        metavar="FILE",
        help="File with the class names of the labels  [default: the one beside them]",
    )


data_names_option = names_option()
split_option = click.option(
    "--split", metavar="NAME", help="Split of the data set to use, such as train."
)
rename_option = click.option(
    "--rename",
    metavar="A=B,...",
    help="Give class A of the labels the name B; several may get the same name.",
)

_OPTIONS = (
    click.option(
        "--only-classes",
        is_flag=False,
        flag_value=OWN,
        metavar="[A,B]",
        help="Take only pictures that show at least one of these classes (by default the "
        "model's), and no other class of the model.",
    ),
    data_names_option,
    rename_option,
    split_option,
    outside_option,
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Take only N of the pictures, evenly spread over all of them.",
    ),
)
picture_options = options_as(
    "pictures", PictureOptions, *_OPTIONS, images_option(was="--images"), title="Pictures"
)
"""Options of choosing pictures; the command gets them as `pictures`."""
picture_options_beside_images = options_as(
    "pictures", PictureOptions, *_OPTIONS, images_option(), title="Pictures"
)
"""The same options for a command whose pictures are its own --images."""


def open_pictures(
    sources: Sequence[str],
    options: PictureOptions,
    *,
    model: HasClassNames,
    wanted: Sequence[str] | None = None,
    uses_labels: bool = True,
) -> Dataset:
    """Open the chosen pictures: see `open_for_model`.

    Args:
        sources: the sources as the user gave them.
        options: the values of `picture_options`.
        model: model that has the classes.
        wanted: classes for --only-classes without a list; by default all of the model's.
        uses_labels: False for a command that reads the pictures alone.

    Raises:
        UsageError: --rename is given, and no label is looked at.
    """
    if options.rename and not uses_labels and options.only_classes is None:
        raise click.UsageError("--rename is about labels, which only --only-classes looks at here")
    selection = options.selection(wanted or (), model.names)
    return open_for_model(list(sources), model, selection, uses_labels=uses_labels)


def open_classes(
    sources: Sequence[str], options: PictureOptions, model: Described
) -> ClassifiedDataset:
    """Open pictures with one class each: see `darkconv.dataset.for_model.open_classes`.

    Args:
        sources: the sources as the user gave them: only one is allowed.
        options: the values of `picture_options`.
        model: the classifier.

    Raises:
        UsageError: there are several sources, or an option is about boxes.
    """
    if len(sources) > 1:
        raise click.UsageError("a classifier's pictures come from one source")
    refuse("rename", "images_folder", "only_classes", because="they are for boxes of detectors")
    return for_model.open_classes(sources[0], model, options.selection())
