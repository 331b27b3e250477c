"""Growth of heads: rows for classes that a model does not have yet.

A class has one row per anchor (or per cell, or a single one) in the layer before each head. The row
of a merged class is computed from those of its members:

- before a sigmoid, it is their mean: the score follows what the members have in common;
- before a softmax, it is their mean with log(n) added to the bias: the merged class gets the
members' share of the probability if their scores are alike;
- in [detection], whose class scores are used as they are, it is their sum: probabilities add up.

None of these is exactly what a trained merged class would predict, so it needs fine-tuning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkconv.core.bounds import require_seed
from darkconv.core.model import Array, Model
from darkconv.core.network import Layer
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen
from darkconv.errors import PlanError
from darkconv.layers.folding import fold_norm, norm_factor
from darkconv.layers.head import Detection, YoloHead
from darkconv.layers.merge import PerChannel
from darkconv.layers.norm import Softmax
from darkconv.surgery.recipes import ClassRecipe, head_spec, known_class, unknown_class

Rows = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

NEUTRAL = {"rolling_mean": 0.0, "rolling_variance": 1.0}
"""Batch norm arrays of a new row; with a matching scale they change nothing."""


@dataclass(frozen=True)
class InitialRows:
    """The initial rows of new classes.

    Attributes:
        kind: "random", "mean" or "like".
        like: for "like", the index (from 0) of the class whose rows are copied.
        seed: for "random", the seed of the random generator.
    """

    kind: str = "random"
    like: int = -1
    seed: int = 0

    @classmethod
    def read(cls, text: str, model: Model, seed: int) -> "InitialRows":
        """Parse `random`, `mean` or `like:NAME`.

        Args:
            text: the text to parse.
            model: the model whose class names count.
            seed: seed of the random generator for "random".

        Raises:
            PlanError: the text is something else, or the class is unknown.
            DarkconvError: the seed is out of bounds.
        """
        kind, colon, name = text.partition(":")
        if kind == "like" and colon:
            place = known_class(model.names, name)
            if place is not None:
                return cls("like", place, seed)
            error = unknown_class(model, name)
            raise PlanError(
                f"init like:{name}: the model has no class of that name", hint=error.hint
            )
        if text not in ("random", "mean"):
            raise PlanError("init", expected="random, mean or like:NAME", found=text)
        require_seed(seed)
        return cls(text, seed=seed)


@dataclass(frozen=True, eq=False)
class Growth:
    """The rows that one head needs of the layer before it when it gets new classes.

    Attributes:
        head: the head.
        maker: the layer that makes its input rows.
        between: the layers that pass the rows on, and the constants that change them.
        old: int64 (classes, k): rows of each class so far.
        kept: int64 (rows,): place of each old row among the new ones.
        new: int64 (added, k): places of the new classes' rows.
    """

    head: Layer
    maker: Layer
    between: tuple[Layer, ...]
    old: Rows
    kept: Rows
    new: Rows

    @property
    def count(self) -> int:
        """Return the number of rows with the new classes."""
        return len(self.kept) + self.new.size

    @property
    def constants(self) -> list[tuple[PerChannel, Layer]]:
        """Return the specs that change the rows before the head, in order, with their constants."""
        numbers = {layer.index: layer for layer in self.between}
        return [
            (layer.spec, numbers[layer.sources[1]])
            for layer in reversed(self.between)
            if isinstance(layer.spec, PerChannel)
        ]


def plan_growth(
    head: Layer, maker: Layer, between: Sequence[Layer], total: int, added: int
) -> Growth:
    """Plan where the rows of further classes are placed.

    Args:
        head: the head.
        maker: the layer that makes its input rows.
        between: the layers that pass the rows on, and the constants that change them.
        total: number of classes so far.
        added: number of new classes.

    Returns:
        The places of old and new rows.
    """
    spec, shapes = head_spec(head), head.in_shapes
    boxes = spec.class_rows(shapes, ())
    old = np.stack([np.setdiff1d(spec.class_rows(shapes, (c,)), boxes) for c in range(total)])
    count = len(spec.class_rows(shapes, range(total))) + added * old.shape[1]
    wider = spec if isinstance(spec, Softmax) else replace(spec, classes=total + added)  # type: ignore[call-arg]
    wide = (shapes[0]._replace(c=count),)
    boxes = wider.class_rows(wide, ())
    new = [np.setdiff1d(wider.class_rows(wide, (c,)), boxes) for c in range(total, total + added)]
    kept = wider.class_rows(wide, range(total))
    return Growth(head, maker, tuple(between), old, kept, np.stack(new))


def grow(
    model: Model, growths: Sequence[Growth], recipes: Sequence[ClassRecipe], start: InitialRows
) -> Model:
    """Return a model with further classes after its own.

    Args:
        model: the original model, which stays unchanged.
        growths: the places of the rows, for every head.
        recipes: the new classes.
        start: initial rows of the classes without members.

    Raises:
        PlanError: a layer between a head and its rows has arrays of its own.
    """
    network = model.network
    config = network.config
    for growth in growths:
        config = config.with_section(growth.head.index + 1, _head_options(growth, recipes))
        for layer in (growth.maker, *growth.between):
            is_known = layer is growth.maker or not layer.sources
            if any(slot.out_axis is not None for slot in layer.slots) and not is_known:
                raise PlanError(
                    "has arrays for rows that new classes would need",
                    where=network.where(layer.index),
                )
            options = layer.spec.count_options(growth.count)
            config = config.with_section(layer.index + 1, options)
    arrays = dict(model.arrays)
    for growth in growths:
        if growth.maker.shared is None:
            arrays |= _grown_arrays(model, growth, recipes, start)
        arrays |= _grown_constants(model, growth, recipes, start)
    return replace(model, network=network.with_config(config), arrays=arrays)


def _head_options(growth: Growth, recipes: Sequence[ClassRecipe]) -> Mapping[str, object]:
    """Return the number of classes, and the training counters.

    The counter of a merged class is the sum of its members', that of a new class the mean of all.
    """
    spec = head_spec(growth.head)
    total = len(growth.old)
    options = dict(spec.class_options(range(total)))
    if "classes" in options:
        options["classes"] = total + len(recipes)
    if isinstance(spec, YoloHead) and "counters_per_class" in options:
        known = spec.counters_per_class
        mean = sum(known) // max(len(known), 1)
        sums = (
            sum(known[i] for i in recipe.members) if recipe.members else mean for recipe in recipes
        )
        options["counters_per_class"] = (*known, *sums)
    return options


def _grown_arrays(
    model: Model, growth: Growth, recipes: Sequence[ClassRecipe], start: InitialRows
) -> dict[str, Array]:
    """Return the arrays of a layer with rows for the new classes."""
    maker = growth.maker
    slots = {slot.name: slot for slot in maker.slots if slot.out_axis is not None}
    arrays = {name: model.arrays[f"{maker.index}.{name}"] for name in slots}
    rows = {name: _rows_first(array, slots[name]) for name, array in arrays.items()}
    folded = fold_norm(model.dialect, {**rows, "weights": rows["weights"]}, axis=0)
    weights, biases = _with_constants(model, growth, *folded)
    grown = {name: _placed(values, growth) for name, values in rows.items()}
    for recipe, places in zip(recipes, growth.new, strict=True):
        if not recipe.members and start.kind == "like":
            for name, values in rows.items():
                grown[name][places] = values[growth.old[start.like]]
            continue
        row_weights, row_biases = _row(growth, recipe, start, weights, biases)
        grown["weights"][places] = row_weights
        grown["biases"][places] = row_biases
        _neutralise(model, grown, places)
    return {
        f"{maker.index}.{name}": frozen(_rows_back(values, slots[name]))
        for name, values in grown.items()
    }


def _with_constants(
    model: Model, growth: Growth, weights: Array, biases: Array
) -> tuple[Doubles, Doubles]:
    """Return weights and biases of the rows with the constants before the head folded into them."""
    pair = weights.astype(np.float64), biases.astype(np.float64)
    for spec, constant in growth.constants:
        values = model.arrays[f"{constant.index}.weights"][:, 0].astype(np.float64)
        pair = spec.applied(*pair, values)
    return pair


def _grown_constants(
    model: Model, growth: Growth, recipes: Sequence[ClassRecipe], start: InitialRows
) -> dict[str, Array]:
    """Return the constants with more rows; new rows change nothing, unless they are copied."""
    arrays = {}
    for spec, constant in growth.constants:
        key = f"{constant.index}.weights"
        grown = _placed(model.arrays[key], growth)
        for recipe, places in zip(recipes, growth.new, strict=True):
            is_copied = start.kind == "like" and not recipe.members
            copied = model.arrays[key][growth.old[start.like]]
            grown[places] = copied if is_copied else spec.neutral
        arrays[key] = frozen(grown)
    return arrays


def _rows_first(array: Array, slot: Slot) -> Array:
    assert slot.out_axis is not None
    return np.moveaxis(array, slot.out_axis, 0)


def _rows_back(values: Array, slot: Slot) -> Array:
    assert slot.out_axis is not None
    return np.moveaxis(values, 0, slot.out_axis)


def _placed(values: Array, growth: Growth) -> Array:
    """Return the old rows at their places among the new ones."""
    grown = np.zeros((growth.count, *values.shape[1:]), np.float32)
    grown[growth.kept] = values
    return grown


def _row(
    growth: Growth, recipe: ClassRecipe, start: InitialRows, weights: Doubles, biases: Doubles
) -> tuple[Doubles, Doubles]:
    """Return (k, ...) weights and (k,) biases of a class, with batch norm and constants folded."""
    members = list(recipe.members) or list(range(len(growth.old)))
    chosen = growth.old[members]  # shape (members, k)
    matrix, summand = weights[chosen], biases[chosen]
    if recipe.members:
        return _merged(head_spec(growth.head), matrix, summand)
    if start.kind == "mean":
        return matrix.mean(axis=0), summand.mean(axis=0)
    stream = np.random.default_rng([start.seed, growth.head.index, *map(ord, recipe.name)])
    drawn: Doubles = stream.normal(0, matrix.std(), matrix.shape[1:])
    return drawn, summand.mean(axis=0)


def _merged(spec: object, matrix: Doubles, summand: Doubles) -> tuple[Doubles, Doubles]:
    """Return weights and biases of a merged class; the module describes the rules."""
    has_softmax = isinstance(spec, Softmax) or getattr(spec, "softmax", False)
    if isinstance(spec, Detection) and not has_softmax:
        return matrix.sum(axis=0), summand.sum(axis=0)
    extra = np.log(len(matrix)) if has_softmax else 0.0
    return matrix.mean(axis=0), summand.mean(axis=0) + extra


def _neutralise(model: Model, grown: dict[str, Array], places: Rows) -> None:
    """Make the batch norm of some rows, in place, change nothing."""
    if "scales" not in grown:
        return
    for name, value in NEUTRAL.items():
        grown[name][places] = value
    grown["scales"][places] = 1.0
    own = {name: grown[name][places] for name in ("scales", "rolling_mean", "rolling_variance")}
    grown["scales"][places] = 1 / norm_factor(model.dialect, {**own, "biases": own["scales"]})
