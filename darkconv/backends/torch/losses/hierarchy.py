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
    """A class tree in which parents precede their children.

    Attributes:
        groups: (classes,) number of the group of siblings that a class belongs to.
        parents: (classes,) class of the parent; -1 for a root.
        count: number of groups.
    """

    groups: Tensor
    parents: Tensor
    count: int

    @classmethod
    def of(cls, layer: Layer, classes: int, device: torch.device) -> Self | None:
        """Build the tree of a layer's `tree=` option; None if it has none.

        Args:
            layer: a layer with classes.
            classes: number of its classes.
            device: device of the tensors.

        Raises:
            GraphError: the file of the tree was not found, or has another number of classes.
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
        """Compute the logarithms of the probabilities among siblings.

        Args:
            raw: (..., classes) logits.

        Returns:
            A tensor of the same shape.
        """
        index = self.groups.expand(raw.shape)
        empty = raw.new_full((*raw.shape[:-1], self.count), -torch.inf)
        highest = empty.scatter_reduce(-1, index, raw.detach(), "amax")
        shifted = raw - highest.gather(-1, index)
        sums = torch.zeros_like(empty).scatter_add(-1, index, shifted.exp())
        return shifted - sums.log().gather(-1, index)

    def levels(self, classes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate from classes up to their roots.

        Args:
            classes: (k,) classes to start at.

        Yields:
            The indices of those classes whose path goes on, and the class that each has reached.
        """
        rows = torch.arange(len(classes), device=classes.device)
        while len(rows):
            yield rows, classes
            classes = self.parents[classes]
            inside = classes >= 0
            rows, classes = rows[inside], classes[inside]

    def absolute(self, values: Tensor, classes: Tensor) -> Tensor:
        """Compute the absolute probability of a class: the product over it and its ancestors.

        Args:
            values: (k, n, classes) probabilities among siblings.
            classes: (k,) class whose probability is computed.

        Returns:
            Probabilities (k, n).
        """
        total = torch.ones_like(values[..., 0])
        for rows, level in self.levels(classes):
            total[rows] *= values[rows, :, level]
        return total

    def aims(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the targets of a softmax among siblings.

        Args:
            classes: (k,) true classes.

        Returns:
            Two masks (k, classes): True for the true class and its ancestors; True for these and
            their siblings, which are the classes that have a target.
        """
        wanted = torch.zeros(len(classes), len(self.groups), device=classes.device).bool()
        groups = torch.zeros(len(classes), self.count, device=classes.device).bool()
        for rows, level in self.levels(classes):
            wanted[rows, level] = True
            groups[rows, self.groups[level]] = True
        return wanted, groups[:, self.groups]
