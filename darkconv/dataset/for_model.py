"""Open data sets for a model: with its class names, and only the pictures that count."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from darkconv.core.names import Names, distinct_names, find_name, listed_names, same_name
from darkconv.core.network import Network
from darkconv.core.processes import is_first_process
from darkconv.core.spreading import evenly_spread
from darkconv.darknet.data import names_in
from darkconv.dataset.class_folders import ClassifiedDataset, open_classified
from darkconv.dataset.classes import (
    UnknownClass,
    matched,
    names_for_model,
    renamed,
    unknown_classes,
)
from darkconv.dataset.open import open_dataset
from darkconv.dataset.sample import Dataset, only_classes
from darkconv.dataset.telling import report_classes, report_problems
from darkconv.errors import DatasetError, PlanError, Where
from darkconv.files import PathLike
from darkconv.files.notice import tell
from darkconv.layers.box_heads import box_heads, scored_classes

Sources = PathLike | Sequence[PathLike]


class NoneExclusiveError(DatasetError):
    """The error that no picture shows only wanted classes.

    Attributes:
        reason: the reason in words.
    """

    reason = "none shows nothing but the kept classes"


class HasClassNames(Protocol):
    """A model, or a file exported from one, with class names."""

    @property
    def names(self) -> Names:
        """Return its class names."""


class Described(HasClassNames, Protocol):
    """A model, or a file exported from one, with its network."""

    @property
    def network(self) -> Network:
        """Return the network that it was built from."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The pictures of a source that count, and the class names of its labels.

    Attributes:
        only: class names; a picture counts if its labels name one of these and none of the model's
            other classes. An empty list stands for all of the model's classes, None for all
            pictures.
        names: the class names of the labels, or a file of them: see `open_dataset`.
        split: the split of the source to read, such as `train`.
        images: the folder with the pictures: see `open_dataset`.
        outside: follow paths that lead outside the data set's folder.
        rename: new class names of the labels by the old ones.
        partly: ignore old names that the data set does not have.
        limit: the number of pictures to take, evenly spread; None for all.
    """

    only: Sequence[str] | None = None
    names: PathLike | Sequence[str] | None = None
    split: str | None = None
    images: PathLike | None = None
    outside: bool = False
    rename: Mapping[str, str] | None = None
    partly: bool = False
    limit: int | None = None


def open_for_model(
    sources: Sources,
    model: HasClassNames,
    selection: Selection | None = None,
    *,
    uses_labels: bool = True,
) -> Dataset:
    """Open the pictures of some sources for a model, and warn of problems with the labels.

    Classes of labels that the model spells in another way get the model's names (`matched`).

    Args:
        sources: the sources, as for `open_dataset`.
        model: the model; labels of classes that it lacks do not count, and a warning names them.
        selection: the pictures that count; None for all.
        uses_labels: False for a job that needs no labels, so that no warning is given about them.

    Returns:
        The data set.

    Raises:
        DatasetError: a source cannot be read, or no picture is left.
        PlanError: the selection names a class that the model does not have.
    """
    chosen = selection or Selection()
    with names_in(model.names.encoding) if model.names.encoding else nullcontext():
        dataset = open_dataset(
            sources,
            names=chosen.names,
            split=chosen.split,
            images=chosen.images,
            outside=chosen.outside,
        )
    if model.names.encoding:
        dataset = dataset.decoded(model.names.encoding)
    if chosen.rename:
        dataset = renamed(dataset, chosen.rename, partly=chosen.partly)
    dataset, changed = with_model_names(dataset, model)
    report_problems(dataset)
    if chosen.only is not None:
        dataset = exclusive(dataset, chosen.only or model.names, model)
    dataset = limited(dataset, chosen.limit)
    if uses_labels or chosen.only is not None:
        report_classes(dataset, changed, left_out_of(dataset, model))
    return dataset


def with_model_names(dataset: Dataset, model: HasClassNames) -> tuple[Dataset, dict[str, str]]:
    """Return a data set with a model's spelling of class names, and the names that were changed.

    Args:
        dataset: a data set with the class names of its labels.
        model: the model; without names nothing is changed.

    Returns:
        The data set, and the new names by the old ones.
    """
    return matched(dataset, model.names) if model.names else (dataset, {})


def left_out_of(dataset: Dataset, model: HasClassNames) -> tuple[UnknownClass, ...]:
    """Return the classes of labels that a model does not have; () if the model has no names.

    Args:
        dataset: a data set with the model's spelling of class names.
        model: the model whose classes count.
    """
    return unknown_classes(dataset, model.names) if model.names else ()


def common_classes(model: HasClassNames, dataset: Dataset) -> tuple[str, ...]:
    """Return the model's classes that have labels, in the model's order and under distinct names.

    Args:
        model: the model, whose classes give the order.
        dataset: the data set, with the model's class names.

    Raises:
        DatasetError: there is no such class.
    """
    labelled = {same_name(name) for sample in dataset.samples for name in sample.names}
    own = distinct_names(model.names)
    classes = tuple(name for name in own if same_name(name) in labelled)
    if not classes:
        raise DatasetError(
            f"{dataset.source}: no label is of a class of the model",
            expected=", ".join(own[:10]) or "class names: --names FILE",
            found=", ".join(sorted(labelled)[:10]) or "no labels",
            hint="--data-names FILE names the labels' classes, --rename A=B renames them"
            if labelled
            else "darkconv data check shows where labels were looked for",
        )
    return classes


AnyModel = TypeVar("AnyModel", bound=Described)


def named_model(model: AnyModel, dataset: Dataset | ClassifiedDataset) -> AnyModel:
    """Return a model with class names: its own, else those of a data set of numbered labels.

    Args:
        model: the model; one that predicts no boxes is returned as it is.
        dataset: the data set whose list of names may stand in for the model's.

    Raises:
        DatasetError: the model has no names, and the data set's do not fit its classes.
    """
    heads = () if model.names or not isinstance(dataset, Dataset) else box_heads(model.network)
    if not heads or not isinstance(dataset, Dataset) or not dataset.labelled:
        return model
    names = names_for_model(dataset, scored_classes(model.network), model.network.file)
    if names != Names(map(str, range(len(names)))) and is_first_process():
        tell(f"{model.network.file}: has no class names, so those of the labels count")
    return replace(model, names=names)  # type: ignore[type-var]


def open_classes(
    source: PathLike, model: Described, selection: Selection | None = None
) -> ClassifiedDataset:
    """Open pictures with one class each, for a classifier.

    Args:
        source: the source, as for `open_classified`.
        model: the classifier, with its class names.
        selection: the pictures that count; of it names, split, outside and limit are used.

    Raises:
        DatasetError: the source cannot be read, no picture is left, or its classes are not those of
            the classifier.
    """
    chosen = selection or Selection()
    names = chosen.names or model.names or None
    encoding = model.names.encoding
    found = open_classified(
        source, names, chosen.split, outside=chosen.outside, names_encoding=encoding
    )
    report_problems(found)
    return limited(with_all_classes(found, model), chosen.limit)


def with_all_classes(dataset: ClassifiedDataset, model: Described) -> ClassifiedDataset:
    """Return a data set with a name for each class that a classifier predicts.

    Classes after the last name are named by their indices.

    Args:
        dataset: pictures whose names may be fewer than the classifier's classes.
        model: the classifier, whose last output has a value for each class.

    Raises:
        DatasetError: there are pictures of classes that the classifier lacks, or the classifier has
            no names, so that its classes cannot be matched.
    """
    count, names = model.network.layers[-1].out_shape.size, dataset.names
    if not names or len(names) == count:
        return dataset
    most = max((number for _, number in dataset.samples), default=-1)
    if not model.names or most >= count:
        raise DatasetError(
            where=Where(file=dataset.source),
            expected=f"{count} classes, as {model.network.file} predicts",
            found=f"{len(names)}: {listed_names(names)}",
            hint=None if model.names else "--names FILE names the model's classes",
        )
    numbers = map(str, range(len(names), count))
    return replace(dataset, names=(*names[:count], *numbers))


AnyDataset = TypeVar("AnyDataset", Dataset, ClassifiedDataset)


def limited(dataset: AnyDataset, limit: int | None) -> AnyDataset:
    """Return a data set with a number of its pictures, evenly spread.

    Args:
        dataset: a data set of boxes, or of pictures with one class each.
        limit: the number of pictures; None for all.
    """
    return replace(dataset, samples=tuple(evenly_spread(dataset.samples, limit)))


def exclusive(dataset: Dataset, names: Sequence[str], model: HasClassNames) -> Dataset:
    """Return the pictures that show at least one of some classes and no other class of a model.

    Args:
        dataset: the data set, with the model's class names.
        names: the wanted classes, which the model has to know.
        model: the model, with its class names.

    Raises:
        PlanError: the model has no names, or lacks one of the classes.
        DatasetError: several classes share one of the names.
        NoneExclusiveError: there is no such picture.
    """
    if not model.names:
        raise PlanError(
            "--only-classes needs the model's class names", hint="--names FILE gives them"
        )
    own = distinct_names(model.names)
    places = [find_name(model.names, name) for name in distinct_names(names)]
    unknown = [name for name, place in zip(names, places, strict=True) if place is None]
    if unknown:
        raise PlanError(
            f"--only-classes: the model has no class {', '.join(unknown)}",
            hint=f"its classes are {listed_names(own, len(own))}; the option without a list "
            "stands last",
        )
    wanted = {own[place] for place in places if place is not None}
    left = only_classes(dataset, wanted, own)
    if not left.samples:
        text, where = f"no picture shows nothing but {', '.join(names)}", Where(file=dataset.source)
        if any(not wanted.isdisjoint(sample.names) for sample in dataset.samples):
            hint = "every picture with one of them shows other classes too"
            raise NoneExclusiveError(text, where=where, hint=hint)
        found = ", ".join(dataset.names) or "none"
        hint = f"the labels' classes are {found}; --data-names names them otherwise"
        nowhere = NoneExclusiveError(text, where=where, hint=hint)
        nowhere.reason = "none shows a kept class"
        raise nowhere
    return left
