"""Recipes: the classes that a model is to have, and from which classes each is made."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from darkconv.core.model import Model
from darkconv.core.names import (
    distinct_names,
    find_name,
    listed_names,
    name_problem,
    same_name,
)
from darkconv.core.network import Network
from darkconv.core.spec import HeadSpec
from darkconv.core.spellings import matching_names, spelled
from darkconv.errors import DatasetError, PlanError
from darkconv.files.notice import tell

_INDEX = re.compile(r"-?\d{1,9}", re.ASCII)
OTHER = "other"
"""The name of the class that stands for all dropped classes."""


@dataclass(frozen=True)
class ClassRecipe:
    """A class of the new model.

    Attributes:
        name: name of the class.
        members: indices (from 0) of the classes it is made from: a single one is kept, several are
            merged, and without members the class is new.
    """

    name: str
    members: tuple[int, ...]

    @property
    def is_kept(self) -> bool:
        """Return True if it is a class of the model, under its own name or another."""
        return len(self.members) == 1


def read_recipes(
    model: Model,
    keep: Sequence[str | int] | None,
    *,
    add: Sequence[str] = (),
    other: bool = False,
) -> list[ClassRecipe]:
    """Parse the classes that the user wants, in their new order.

    Args:
        model: the model whose classes they are made from.
        keep: names or indices (from 0); `new=a+b` merges several classes, and `new=a` renames one.
            None for all classes.
        add: names of new classes, placed after the others.
        other: if True, add one class for all dropped classes.

    Raises:
        PlanError: a class is unknown, a class or name is used twice, there is none, or no class is
            dropped for which "other" could stand.
    """
    total = count_classes(model.network)
    if isinstance(keep, str) or isinstance(add, str):
        raise PlanError("classes", expected="a list of names or indices", found="one text")
    items = range(total) if keep is None else keep
    recipes = [_read(model, item, total) for item in items]
    if other:
        recipes.append(_other(recipes, total))
    recipes += [ClassRecipe(name, ()) for name in add]
    same = matching_names([*map(str, add)], distinct_names(model.names))
    if same:
        listed = ", ".join(f"{name} beside {other}" for name, other in same.items())
        tell(f"{model.network.file}: new classes that the model has in another spelling: {listed}")
    _check(model, recipes)
    return recipes


def transferred_recipes(model: Model, names: Sequence[str]) -> list[ClassRecipe]:
    """Return recipes for classes with given names: those the model has are kept, the rest are new.

    A name that the model only spells differently counts as the same, as for labels.

    Args:
        model: the model whose classes are kept.
        names: names of the wanted classes, in order.

    Raises:
        PlanError: there are no names, or a name is invalid or occurs twice.
    """
    _check_names(names)
    same = matching_names(names, distinct_names(model.names))
    if same:
        listed = ", ".join(f"{name} is {other}" for name, other in same.items())
        tell(f"{model.network.file}: known spellings of the model's classes: {listed}")
    places = [known_class(model.names, same.get(name, name)) for name in names]
    recipes = [
        ClassRecipe(name, () if place is None else (place,))
        for name, place in zip(names, places, strict=True)
    ]
    _check(model, recipes)
    return recipes


def count_classes(network: Network) -> int:
    """Return the number of classes that all heads have in common.

    Args:
        network: the network to examine.

    Raises:
        PlanError: there is no head, or the heads have different numbers.
    """
    counts = {head_spec(head).num_classes(head.in_shapes) for head in network.heads}
    if len(counts) != 1:
        found = "heads of " + " and ".join(map(str, sorted(counts))) if counts else "no head"
        raise PlanError(f"{network.file}: expected heads with one list of classes, found {found}")
    return counts.pop()


def head_spec(head: "object") -> HeadSpec:
    """Return the spec of a head.

    Args:
        head: a layer whose spec is a `HeadSpec`.
    """
    spec = getattr(head, "spec", None)
    assert isinstance(spec, HeadSpec)
    return spec


def _read(model: Model, item: str | int, total: int) -> ClassRecipe:
    if isinstance(item, str) and "=" in item and known_class(model.names, item) is None:
        name, _, members = item.partition("=")
        if not name.strip():
            raise PlanError(f"class {item!r}", expected="a name before the =", found="none")
        found = [_class_index(model, part.strip(), total) for part in members.split("+")]
        return ClassRecipe(name.strip(), tuple(found))
    index = _class_index(model, item, total)
    return ClassRecipe(model.class_name(index), (index,))


def _other(recipes: Iterable[ClassRecipe], total: int) -> ClassRecipe:
    used = {index for recipe in recipes for index in recipe.members}
    dropped = tuple(index for index in range(total) if index not in used)
    if not dropped:
        raise PlanError(f"class {OTHER!r} stands for the dropped classes, and none is dropped")
    return ClassRecipe(OTHER, dropped)


def _check(model: Model, recipes: Sequence[ClassRecipe]) -> None:
    if not recipes:
        raise PlanError("no class to keep")
    members = [index for recipe in recipes for index in recipe.members]
    for index in members:
        if members.count(index) > 1:
            raise PlanError(f"class {model.class_name(index)} is named twice")
    _check_names(recipe.name for recipe in recipes)
    names = [same_name(recipe.name) for recipe in recipes]
    for recipe, name in zip(recipes, names, strict=True):
        if names.count(name) > 1:
            hint = f"OTHER={recipe.members[0]} gives one another name" if recipe.is_kept else None
            raise PlanError(f"two classes would have the name {recipe.name}", hint=hint)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if problem := name_problem(name):
            raise PlanError(f"class name: {problem}", expected="a line of text")


def known_class(names: Sequence[str], name: str) -> int | None:
    """Return the index of a class, or None if no class has the name.

    Args:
        names: class names in class order.
        name: the name to look for.

    Raises:
        PlanError: several classes have the name.
    """
    try:
        return find_name(names, name)
    except DatasetError as error:
        raise PlanError(error.message, hint=f"{error.hint}, and so do indices") from None


def _class_index(model: Model, item: str | int, total: int) -> int:
    if isinstance(item, str):
        place = known_class(model.names[:total], item)
        if place is not None:
            return place
        if not _INDEX.fullmatch(item):
            raise unknown_class(model, item)
    index = int(item)
    if not 0 <= index < total:
        raise PlanError("class index", expected=f"0 to {total - 1}", found=index)
    return index


def unknown_class(model: Model, name: str) -> PlanError:
    """Return the error for a name that no class has; its hint gives similar names.

    Args:
        model: the model whose classes are known.
        name: the unknown name.
    """
    if not model.names:
        return PlanError(
            f"class {name!r}: the model has no class names",
            hint="give a names file, or class indices",
        )
    own = {spelled(one): one for one in reversed(distinct_names(model.names))}
    near = [own[one] for one in difflib.get_close_matches(spelled(name), own, n=3)]
    known = listed_names(distinct_names(model.names))
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {known}"
    signs = [i for i, one in enumerate(model.names) if any(sign in one for sign in ",+=")]
    if signs:
        indices = ", ".join(f"{i} for {model.names[i]!r}" for i in signs[:10])
        hint += f"{'' if near else ';'} say {indices}"
    return PlanError(f"unknown class {name!r}", hint=hint)
