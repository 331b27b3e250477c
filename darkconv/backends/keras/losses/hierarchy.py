"""Groups of classes with a softmax for each, and the class tree that they may be of."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.selection import is_class
from darkconv.backends.keras.scope import Tensor
from darkconv.core.network import Layer
from darkconv.core.tree import Tree
from darkconv.layers.loss_rules import class_tree


@dataclass(frozen=True)
class Siblings:
    """Classes in groups.

    Attributes:
        groups: (classes,) number of the group that a class belongs to, rising.
        index: (groups, widest) classes of each group, 0 where it is shorter.
        mask: (groups, widest) to be added to their logits.
        back: (classes,) place of each in the flattened table.
    """

    groups: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    mask: npt.NDArray[np.float32]
    back: npt.NDArray[np.int64]

    @classmethod
    def of_tree(cls, tree: Tree) -> Self:
        """Those of a class tree."""
        sizes = [count for _, count in tree.groups]
        return cls(np.repeat(np.arange(len(sizes)), sizes), *tree.group_rows)

    @classmethod
    def alike(cls, classes: int, groups: int) -> Self:
        """Groups of equal size."""
        number = np.arange(classes)
        index = number.reshape(groups, -1)
        return cls(number // index.shape[1], index, np.zeros(index.shape, np.float32), number)

    def log_softmax(self, raw: Tensor) -> Tensor:
        """Logarithms of the probabilities in each group, (..., classes) both."""
        rows = self._rows(raw) + ops.convert_to_tensor(self.mask, dtype=raw.dtype)
        logs = ops.reshape(ops.log_softmax(rows, axis=-1), (-1, self.index.size))
        return ops.reshape(_taken(logs, self.back), (-1, *raw.shape[1:]))

    def sums(self, values: Tensor) -> Tensor:
        """(N, classes) the sum of each class's group."""
        inside = ops.convert_to_tensor(self.mask == 0, dtype=values.dtype)
        return _taken(ops.sum(self._rows(values) * inside, axis=-1), self.groups)

    def _rows(self, values: Tensor) -> Tensor:
        """(..., classes) as (rows, groups, widest): TensorFlow's softmax takes five axes."""
        return ops.reshape(_taken(values, self.index.ravel()), (-1, *self.index.shape))


@dataclass(frozen=True)
class Hierarchy:
    """A class tree: classes whose parents precede them.

    Attributes:
        tree: it.
    """

    tree: Tree

    @classmethod
    def of(cls, layer: Layer, classes: int) -> Self | None:
        """The tree that a layer's `tree=` names; None if it names none.

        Raises:
            GraphError: its file was not found, or has another number of classes.
        """
        tree = class_tree(layer, classes)
        return None if tree is None else cls(tree)

    @cached_property
    def siblings(self) -> Siblings:
        """Its groups."""
        return Siblings.of_tree(self.tree)

    @cached_property
    def ancestry(self) -> npt.NDArray[np.int64]:
        """(levels, classes) each class, then its parent, its grandparent ...; -1 past a root."""
        parents = np.array(self.tree.parents)
        levels = [np.arange(len(parents))]
        while (levels[-1] >= 0).any():
            levels.append(np.where(levels[-1] >= 0, parents[levels[-1]], -1))
        return np.stack(levels[:-1])

    def absolute(self, values: Tensor, classes: Tensor) -> Tensor:
        """Probability (N, P) of a class and all above it.

        Args:
            values: (N, P, classes) probabilities among siblings.
            classes: (N,) whose probability is asked for.
        """
        total = ops.ones_like(values[..., 0])
        for level in self.ancestry:
            own = _at(level, classes)
            share = ops.take_along_axis(values, ops.maximum(own, 0)[:, None, None], axis=2)
            total = total * ops.where(own[:, None] >= 0, share[..., 0], 1.0)
        return total

    def aims(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """What a softmax of siblings should say where a class is true.

        Args:
            classes: (N, P) true classes.

        Returns: (N, P, classes) each: whether it is the class or above it; whether it or a
            sibling of it is, so that its probability has an aim at all.
        """
        groups = self.siblings.groups
        count = len(groups)
        wanted = written = is_class(ops.full_like(classes, -1), count)
        for level in self.ancestry:
            own = _at(level, classes)
            wanted = wanted | is_class(own, count)
            group = ops.where(own >= 0, _at(groups, ops.maximum(own, 0)), -1)
            numbers = ops.convert_to_tensor(groups, dtype="int32")
            written = written | (group[..., None] == numbers)
        return wanted, written


def _taken(values: Tensor, index: npt.NDArray[np.int64]) -> Tensor:
    return ops.take(values, index.astype(np.int32), axis=-1)


def _at(table: npt.NDArray[np.int64], index: Tensor) -> Tensor:
    """Numbers of a table (classes,), in the index's shape."""
    return ops.take(ops.convert_to_tensor(table, dtype="int32"), index, axis=0)
