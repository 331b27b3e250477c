"""Groups of classes with one softmax each, and the class tree that they may come from."""

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
        index: (groups, widest) classes of each group, padded with 0.
        mask: (groups, widest) numbers to add to the logits: 0, and for padding a very low one.
        back: (classes,) index of each class in the flattened table.
    """

    groups: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    mask: npt.NDArray[np.float32]
    back: npt.NDArray[np.int64]

    @classmethod
    def of_tree(cls, tree: Tree) -> Self:
        """Build the groups of a class tree.

        Args:
            tree: the class tree.
        """
        sizes = [count for _, count in tree.groups]
        return cls(np.repeat(np.arange(len(sizes)), sizes), *tree.group_rows)

    @classmethod
    def alike(cls, classes: int, groups: int) -> Self:
        """Build groups of equal size.

        Args:
            classes: number of classes, a multiple of `groups`.
            groups: number of groups.
        """
        number = np.arange(classes)
        index = number.reshape(groups, -1)
        return cls(number // index.shape[1], index, np.zeros(index.shape, np.float32), number)

    def log_softmax(self, raw: Tensor) -> Tensor:
        """Compute the logarithms of the probabilities among siblings.

        Args:
            raw: (..., classes) logits.

        Returns:
            A tensor of the same shape.
        """
        rows = self._rows(raw) + ops.convert_to_tensor(self.mask, dtype=raw.dtype)
        logs = ops.reshape(ops.log_softmax(rows, axis=-1), (-1, self.index.size))
        return ops.reshape(_taken(logs, self.back), (-1, *raw.shape[1:]))

    def sums(self, values: Tensor) -> Tensor:
        """Compute the sum over the group of each class, (N, classes).

        Args:
            values: (N, classes) values.
        """
        inside = ops.convert_to_tensor(self.mask == 0, dtype=values.dtype)
        return _taken(ops.sum(self._rows(values) * inside, axis=-1), self.groups)

    def _rows(self, values: Tensor) -> Tensor:
        """Return (..., classes) as (rows, groups, widest): TensorFlow's softmax takes five axes."""
        return ops.reshape(_taken(values, self.index.ravel()), (-1, *self.index.shape))


@dataclass(frozen=True)
class Hierarchy:
    """A class tree in which parents precede their children.

    Attributes:
        tree: the class tree.
    """

    tree: Tree

    @classmethod
    def of(cls, layer: Layer, classes: int) -> Self | None:
        """Build the tree of a layer's `tree=` option; None if it has none.

        Args:
            layer: a layer with classes.
            classes: number of its classes.

        Raises:
            GraphError: the file of the tree was not found, or has another number of classes.
        """
        tree = class_tree(layer, classes)
        return None if tree is None else cls(tree)

    @cached_property
    def siblings(self) -> Siblings:
        """Groups of siblings of the tree."""
        return Siblings.of_tree(self.tree)

    @cached_property
    def ancestry(self) -> npt.NDArray[np.int64]:
        """Each class, then its parent, its grandparent, ... (levels, classes); -1 past a root."""
        parents = np.array(self.tree.parents)
        levels = [np.arange(len(parents))]
        while (levels[-1] >= 0).any():
            levels.append(np.where(levels[-1] >= 0, parents[levels[-1]], -1))
        return np.stack(levels[:-1])

    def absolute(self, values: Tensor, classes: Tensor) -> Tensor:
        """Compute the absolute probability of a class: the product over it and its ancestors.

        Args:
            values: (N, P, classes) probabilities among siblings.
            classes: (N,) class whose probability is computed.

        Returns:
            Probabilities (N, P).
        """
        total = ops.ones_like(values[..., 0])
        for level in self.ancestry:
            own = _at(level, classes)
            share = ops.take_along_axis(values, ops.maximum(own, 0)[:, None, None], axis=2)
            total = total * ops.where(own[:, None] >= 0, share[..., 0], 1.0)
        return total

    def aims(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the targets of a softmax among siblings.

        Args:
            classes: (N, P) true classes.

        Returns:
            Two masks (N, P, classes): True for the true class and its ancestors; True for these and
            their siblings, which are the classes that have a target.
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
    """Return numbers of a table (classes,) in the shape of the index."""
    return ops.take(ops.convert_to_tensor(table, dtype="int32"), index, axis=0)
