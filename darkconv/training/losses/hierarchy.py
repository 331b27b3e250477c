"""Hierarchy: a class tree as tensors, with one softmax for each group of siblings."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from darkconv.core.network import Layer
from darkconv.layers.loss_rules import class_tree


@dataclass(frozen=True)
class Hierarchy:
    """Classes whose parents precede them.

    Attributes:
        groups: (classes,) number of the group of siblings that a class belongs to.
        parents: (classes,) -1 for a root.
        count: number of groups.
    """

    groups: Tensor
    parents: Tensor
    count: int

    @classmethod
    def of(cls, layer: Layer, classes: int, device: torch.device) -> Self | None:
        """The tree that a layer's `tree=` names; None if it names none.

        Raises:
            GraphError: its file was not found, or has another number of classes.
        """
        tree = class_tree(layer, classes)
        if tree is None:
            return None
        groups = np.repeat(np.arange(len(tree.groups)), [count for _, count in tree.groups])
        return cls(
            torch.from_numpy(groups).to(device),
            torch.tensor(tree.parents, device=device),
            len(tree.groups),
        )

    def log_softmax(self, raw: Tensor) -> Tensor:
        """Logarithms of the probabilities among siblings, (..., classes) both."""
        index = self.groups.expand(raw.shape)
        empty = raw.new_full((*raw.shape[:-1], self.count), -torch.inf)
        highest = empty.scatter_reduce(-1, index, raw.detach(), "amax")
        shifted = raw - highest.gather(-1, index)
        sums = torch.zeros_like(empty).scatter_add(-1, index, shifted.exp())
        return shifted - sums.log().gather(-1, index)

    def levels(self, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """From classes (k,) up to their roots: the rows that are not past one, their classes."""
        rows = torch.arange(len(classes), device=classes.device)
        while len(rows):
            yield rows, classes
            classes = self.parents[classes]
            inside = classes >= 0
            rows, classes = rows[inside], classes[inside]

    def absolute(self, values: Tensor, classes: Tensor) -> Tensor:
        """Probability of a class and all above it.

        Args:
            values: (k, n, classes) probabilities among siblings.
            classes: (k,) whose probability is asked for.

        Returns: (k, n).
        """
        total = torch.ones_like(values[..., 0])
        for rows, level in self.levels(classes):
            total[rows] *= values[rows, :, level]
        return total

    def aims(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """What a softmax of siblings should say where a class is true.

        Args:
            classes: (k,) true classes.

        Returns: (k, classes) each: whether it is the class or above it; whether it or a sibling
            of it is, so that its probability has an aim at all.
        """
        wanted = torch.zeros(len(classes), len(self.groups), device=classes.device).bool()
        groups = torch.zeros(len(classes), self.count, device=classes.device).bool()
        for rows, level in self.levels(classes):
            wanted[rows, level] = True
            groups[rows, self.groups[level]] = True
        return wanted, groups[:, self.groups]
