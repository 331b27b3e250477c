"""A hierarchy of classes, as in YOLO9000."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
NEVER = -1e30  # the softmax of this logit is zero


@dataclass(frozen=True)
class Tree:
    """A class tree: parents precede their children, and siblings stand next to each other.

    Attributes:
        names: one name per class.
        parents: index (from 0) of each class's parent; -1 for a root.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Return (first, count) of each run of classes with one parent, which share a softmax."""
        starts = [
            i for i, parent in enumerate(self.parents) if i == 0 or parent != self.parents[i - 1]
        ]
        ends = [*starts[1:], len(self.parents)]
        return tuple((start, end - start) for start, end in zip(starts, ends, strict=True))

    @cached_property
    def group_rows(self) -> tuple[Integers, npt.NDArray[np.float32], Integers]:
        """Return the groups as a table, so that one softmax along its rows serves them all.

        Returns:
            int64 (groups, widest) class indices, 0 where a group is shorter; the float32 mask of
                that shape to add to the logits; and the int64 place of each class in the flattened
                table.
        """
        widest = max(size for _, size in self.groups)
        index = np.zeros((len(self.groups), widest), np.int64)
        mask = np.full(index.shape, NEVER, np.float32)
        back = np.empty(len(self.parents), np.int64)
        for row, (start, size) in enumerate(self.groups):
            index[row, :size] = np.arange(start, start + size)
            mask[row, :size] = 0
            back[start : start + size] = row * widest + np.arange(size)
        return index, mask, back

    def child_group(self, index: int) -> int | None:
        """Return the index of the group of a class's children; None for a leaf.

        Args:
            index: class index, from 0.
        """
        for group, (start, _) in enumerate(self.groups):
            if self.parents[start] == index:
                return group
        return None

    def hierarchical(self, conditional: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return absolute probabilities: p[j] *= p[parent[j]], parents first.

        The rule is that of Darknet's `hierarchy_predictions`.

        Args:
            conditional: float32 (..., classes) probabilities within each group.
        """
        absolute = conditional.copy()
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                absolute[..., index] *= absolute[..., parent]
        return absolute
