"""A hierarchy of classes, as YOLO9000 uses it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
NEVER = -1e30  # a logit whose softmax is zero


@dataclass(frozen=True)
class Tree:
    """Classes whose parents precede them; brothers and sisters stand next to each other.

    Attributes:
        names: one name per class.
        parents: index of each class's parent, -1 for a root.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """(first, count) of each run of classes with the same parent: one softmax each."""
        starts = [
            i for i, parent in enumerate(self.parents) if i == 0 or parent != self.parents[i - 1]
        ]
        ends = [*starts[1:], len(self.parents)]
        return tuple((start, end - start) for start, end in zip(starts, ends, strict=True))

    @cached_property
    def group_rows(self) -> tuple[Integers, npt.NDArray[np.float32], Integers]:
        """The groups as a table, so that one softmax along its rows serves them all.

        Returns: (groups, widest) class indices, 0 where a group is shorter; the mask of that
            shape to add to their logits; for each class its place in the flattened table.
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
        """The group of a class's children; None for a leaf."""
        for group, (start, _) in enumerate(self.groups):
            if self.parents[start] == index:
                return group
        return None

    def hierarchical(self, conditional: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Absolute probabilities: p[j] *= p[parent[j]], parents first.

        Args:
            conditional: (..., classes) probabilities within each group.
        """
        absolute = conditional.copy()
        for index, parent in enumerate(self.parents):
            if parent >= 0:
                absolute[..., index] *= absolute[..., parent]
        return absolute
