"""reclass: a model for some of its classes, with exactly the scores that it gave them.

A head reads rows of the layer before it: the box entries of each anchor, and a row for each class.
Keeping classes means keeping rows, in the wanted order. All layers before that layer stay
unchanged.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.model import Model
from darkconv.core.names import NO_NAMES, Names
from darkconv.core.network import Layer, Network
from darkconv.core.removal import keep_channels
from darkconv.errors import PlanError
from darkconv.layers.conv import Convolutional
from darkconv.layers.dense import Connected
from darkconv.layers.head import Region
from darkconv.layers.norm import Softmax
from darkconv.surgery.growth import Growth, InitialRows, grow, plan_growth
from darkconv.surgery.recipes import (
    ClassRecipe,
    count_classes,
    head_spec,
    read_recipes,
    transferred_recipes,
)

logger = logging.getLogger("darkconv")

Rows = npt.NDArray[np.int64]

MAKERS = (Convolutional, Connected)
"""Layer types whose rows can be removed for a head."""


@dataclass(frozen=True)
class HeadCut:
    """The rows that one head needs of the layers before it.

    Attributes:
        head: the head.
        maker: the layer that makes its input rows.
        between: the layers that pass the rows on, from the head backwards, and the constants that
            change them.
        rows: int64 indices (from 0) of the rows to keep, in the new order.
    """

    head: Layer
    maker: Layer
    between: tuple[Layer, ...]
    rows: Rows


@checked
def reclass(
    model: Model,
    keep: Sequence[str | int] | None = None,
    *,
    add: Sequence[str] = (),
    init: str = "random",
    seed: int = 0,
    other: bool = False,
    keep_softmax: bool = False,
) -> Model:
    """Return a model that predicts some of the classes, in the given order, and perhaps new ones.

    Boxes and scores of the kept classes do not change, unless there is a softmax over the classes:
    then the dropped classes are missing in its denominator, and a warning is logged. Merged and new
    classes need fine-tuning.

    Args:
        model: a model with one or more heads, all with the same classes; it stays unchanged.
        keep: class names or indices (from 0); `vehicle=car+bus` merges classes (see
            `darkconv.surgery.growth`), and `auto=car` renames one. None for all classes.
        add: names of new classes, placed after the others.
        init: initial rows of new classes: "random" (with the spread of the other classes), "mean"
            (of the other classes) or "like:NAME" (a copy).
        seed: seed of the random generator for "random".
        other: if there is a softmax over the classes, merge all dropped classes into a class
            "other", so that the scores of the kept ones do not rise.
        keep_softmax: keep the softmax over all classes, and drop classes after it, so that the
            scores of the kept ones stay the same. Darknet has no option for this: such a model can
            only be exported, and not be written as Darknet's files.

    Raises:
        PlanError: a class is unknown or named twice, there is none to keep, `other` or
            `keep_softmax` is given without a softmax, or the rows of a head cannot be cut because
            of a class tree or because other layers read them too.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> dc.reclass(load_digits10(), ["seven", "two"]).names
        ('seven', 'two')
    """
    if (other or keep_softmax) and not any(map(_is_softmax, model.network.heads)):
        raise PlanError(
            f"{model.network.file}: no softmax runs over the classes",
            hint="without one, the kept classes' scores do not depend on those dropped",
        )
    recipes = read_recipes(model, keep, add=add, other=other)
    if all(recipe.members for recipe in recipes):
        for option, is_given in (("init", init != "random"), ("seed", bool(seed))):
            if is_given:
                raise PlanError(f"{option}: no class is new")
    if keep_softmax:
        return _cut_behind_softmax(model, recipes)
    return _made(model, recipes, InitialRows.read(init, model, seed))


@checked
def transfer(model: Model, names: Sequence[str], *, init: str = "random", seed: int = 0) -> Model:
    """Return a model for other classes: those with the same name keep their rows, the rest are new.

    A name that the model only spells differently, such as `Car` for `car`, counts as the same, and
    a message says so.

    Args:
        model: the original model, which stays unchanged.
        names: names of the new classes in order; `Names` also state which classes are hidden.
        init: initial rows of new classes, see `reclass`.
        seed: seed of the random generator, see `reclass`.

    Raises:
        PlanError: see `reclass`.
    """
    made = _made(model, transferred_recipes(model, names), InitialRows.read(init, model, seed))
    return replace(made, names=names) if isinstance(names, Names) else made


def _made(model: Model, recipes: Sequence[ClassRecipe], start: InitialRows) -> Model:
    """Return the model of some recipes: new classes are added first, then the others are cut."""
    total = count_classes(model.network)
    made = [recipe for recipe in recipes if not recipe.is_kept]
    whole = _grown(model, made, start) if made else model
    places = {recipe.name: total + number for number, recipe in enumerate(made)}
    kept = [places[r.name] if r.name in places else r.members[0] for r in recipes]
    small = _cut(whole, kept)
    used = {index for recipe in recipes for index in recipe.members}
    if len(used) < total:
        _warn_of_softmax(model.network)
    if made:
        names = ", ".join(recipe.name for recipe in made)
        logger.warning("%s: merged and new classes need fine-tuning: %s", model.network.file, names)
    return replace(small, names=_names(model, recipes) if model.names or made else NO_NAMES)


def _names(model: Model, recipes: Sequence[ClassRecipe]) -> Names:
    """Return the names of the new classes; a class is hidden if all its members are."""
    hidden = (i for i, r in enumerate(recipes) if r.members and model.hidden.issuperset(r.members))
    return Names((recipe.name for recipe in recipes), hidden=hidden)


def _cut_behind_softmax(model: Model, recipes: Sequence[ClassRecipe]) -> Model:
    """Return the model with all its rows, whose heads output only the kept classes."""
    network = model.network
    if not all(recipe.is_kept for recipe in recipes):
        raise PlanError("keep_softmax", expected="classes of the model alone", found="others")
    kept = tuple(recipe.members[0] for recipe in recipes)
    config = network.config
    for head in network.heads:
        if not isinstance(head.spec, (Region, Softmax)) or not _is_softmax(head):
            raise PlanError(
                "keep_softmax",
                where=network.where(head.index),
                expected="[region] with softmax=1, or [softmax]",
                found=f"[{head.type}]",
            )
        plan_cut(network, head, kept)
        config = config.with_section(head.index + 1, {"keep_classes": kept})
    names = _names(model, recipes) if model.names else NO_NAMES
    return replace(model, network=network.with_config(config), names=names)


def _grown(model: Model, recipes: Sequence[ClassRecipe], start: InitialRows) -> Model:
    network = model.network
    total = count_classes(network)
    cuts = [plan_cut(network, head, range(total)) for head in network.heads]
    growths: list[Growth] = [
        plan_growth(cut.head, cut.maker, cut.between, total, len(recipes)) for cut in cuts
    ]
    return grow(model, growths, recipes, start)


def _cut(model: Model, kept: Sequence[int]) -> Model:
    network = model.network
    cuts = [plan_cut(network, head, kept) for head in network.heads]
    constants = {
        layer.index: cut.rows for cut in cuts for layer in cut.between if not layer.sources
    }
    return keep_channels(
        model,
        constants | {cut.maker.index: cut.rows for cut in cuts},
        options={cut.head.index: head_spec(cut.head).class_options(kept) for cut in cuts},
    )


def plan_cut(network: Network, head: Layer, keep: Sequence[int]) -> HeadCut:
    """Find the layer that makes a head's rows, and the rows to keep.

    Args:
        network: the network of the head.
        head: the head.
        keep: class indices (from 0) in their new order.

    Raises:
        PlanError: the rows cannot be cut.
    """
    spec = head_spec(head)
    if isinstance(spec, (Region, Softmax)) and spec.tree:
        raise PlanError(
            "the classes form a tree, of which none can be taken out alone",
            where=network.where(head.index, "tree"),
        )
    if getattr(spec, "keep_classes", ()):
        raise PlanError(
            "its classes were cut behind the softmax: cut the model before that",
            where=network.where(head.index, "keep_classes"),
        )
    if isinstance(spec, Softmax) and spec.groups > 1:
        raise PlanError(
            "a softmax in groups has no plain list of classes",
            where=network.where(head.index, "groups"),
        )
    rows = spec.class_rows(head.in_shapes, keep)
    reader, source = head, head.sources[0]
    between: list[Layer] = []
    while True:
        layer = network.layers[source] if source >= 0 else None
        if layer is None or network.consumers[source] != (reader.index,):
            raise _uncuttable(network, head, source)
        if isinstance(layer.spec, MAKERS):
            _check_maker(network, head, layer)
            return HeadCut(head, layer, tuple(between), rows)
        constants = [network.layers[i] for i in layer.sources[1:] if i >= 0]
        if not _hands_through(layer) or not all(_is_own(network, layer, c) for c in constants):
            raise _uncuttable(network, head, source)
        between += [layer, *constants]
        reader, source = layer, layer.sources[0]


def _hands_through(layer: Layer) -> bool:
    """Return True if output channel i is made only from channel i of each input."""
    ties, count = layer.spec.ties(layer.in_shapes), layer.out_shape.c
    own = np.arange(count)[:, None] + count * np.arange(len(layer.in_shapes))
    return np.array_equal(ties, own)


def _is_own(network: Network, reader: Layer, constant: Layer) -> bool:
    """Return True if a layer is a constant that only one other layer reads."""
    return not constant.sources and network.consumers[constant.index] == (reader.index,)


def _check_maker(network: Network, head: Layer, maker: Layer) -> None:
    is_flat = not head.out_shape.is_map
    grouped = isinstance(maker.spec, Convolutional) and maker.spec.group_count > 1
    if grouped or (is_flat and head.in_shapes[0].size != maker.out_shape.c):
        raise _uncuttable(network, head, maker.index)


def _uncuttable(network: Network, head: Layer, source: int) -> PlanError:
    if source < 0:
        return PlanError("the head reads the input", where=network.where(head.index))
    readers = network.consumers[source]
    also = f", which layers {', '.join(map(str, readers))} read" if len(readers) > 1 else ""
    return PlanError(
        f"its classes are not rows of one layer: they come from layer {source} "
        f"[{network.layers[source].type}]{also}",
        where=network.where(head.index),
    )


def _is_softmax(head: Layer) -> bool:
    return isinstance(head.spec, Softmax) or bool(getattr(head.spec, "softmax", False))


def _warn_of_softmax(network: Network) -> None:
    for head in filter(_is_softmax, network.heads):
        logger.warning(
            "%s: the softmax now runs over the kept classes alone, so their scores rise, "
            "also on objects of the dropped ones; keep_softmax (for exported files), a class "
            "other, or fine-tuning mends that",
            network.where(head.index),
        )
