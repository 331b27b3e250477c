"""Objectives of training: the loss of the labels, the distance from a teacher, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from darkconv.backends.torch.losses import LossReport, Rule, has_loss, head_loss
from darkconv.core.network import Layer, Network
from darkconv.darknet.class_map import read_class_map
from darkconv.errors import UnsupportedError
from darkconv.layers.box_heads import check_anchors

Costs = dict[str, Tensor]
"""Parts of a batch's loss, each a scalar summed over its pictures; `loss` is the total."""

PARTS = ("box", "objectness", "no_object", "classes")
QUALITIES = ("iou", "recall")


class Objective(Protocol):
    """A loss of a network's values for a batch."""

    @property
    def layers(self) -> frozenset[int]:
        """Indices of the layers whose values are needed."""

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """Compute the parts of the loss.

        Args:
            values: values of `layers`, by layer index.
            x: the batch (N, C, H, W).
            truths: its labels, see `darkconv.backends.torch.losses.head_loss`.
            seen: number of pictures trained on before.
        """


@dataclass(frozen=True)
class LabelObjective:
    """The losses of all heads, summed; qualities such as the IoU are averaged, as C prints them.

    Attributes:
        network: network whose heads are trained.
        rule: "default" or "darknet", see `darkconv.backends.torch.losses`.
        class_weights: factor of each class in the loss of its objects; empty for equal ones.
    """

    network: Network
    rule: Rule = "default"
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the heads, and read the files of their `map=`.

        Raises:
            UnsupportedError: no layer has a loss.
            GraphError: the mask of a head names anchors that are not listed; the file of a `map=`
                was not found, or names a class that the head does not have.
            DatasetError: the file of a `map=` cannot be read.
        """
        if not self.heads:
            raise UnsupportedError(
                f"{self.network.file}: no layer has a loss to train by",
                expected="a [yolo], [region] or another head, [softmax], [logistic] or [cost]",
            )
        for head in self.heads:
            check_anchors(head, self.network)
        assert self.maps.keys()  # they are read now: errors come before the training

    @property
    def heads(self) -> list[Layer]:
        """Layers that have a loss; a [cost] behind another head, which repeats it, is left out."""
        found = [layer for layer in self.network.layers if has_loss(layer)]
        return [la for la in found if la.type != "cost"] or found

    @cached_property
    def maps(self) -> dict[int, tuple[int, ...]]:
        """Content of each head's `map=`, by the head's layer index."""
        return {head.index: read_class_map(head, self.network) for head in self.heads}

    @property
    def layers(self) -> frozenset[int]:
        """Indices of the layers that the heads read."""
        return frozenset(head.sources[0] for head in self.heads)

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """Compute the parts of all heads' losses, and the mean quality of their boxes.

        Args:
            values: values of `layers`, by layer index.
            x: the batch (N, C, H, W).
            truths: its labels, see `darkconv.backends.torch.losses.head_loss`.
            seen: number of pictures trained on before.
        """
        size = (x.shape[-1], x.shape[-2]) if x.ndim == 4 else (1, 1)
        reports = [
            head_loss(
                head,
                values[head.sources[0]],
                truths,
                input_size=size,
                rule=self.rule,
                seen=seen,
                class_weights=self.class_weights,
                class_map=self.maps[head.index],
            )
            for head in self.heads
        ]
        return _summed(reports)


def _summed(reports: Sequence[LossReport]) -> Costs:
    costs = {"loss": _total([report.total for report in reports])}
    for name in PARTS:
        costs[name] = _total([getattr(report, name) for report in reports])
    for name in QUALITIES:
        costs[name] = _total([getattr(report, name) for report in reports]) / len(reports)
    return costs


def _total(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(tuple(values)).sum()


@dataclass(frozen=True)
class BothObjective:
    """The sum of two objectives: labels and a teacher. Parts of the second have "teacher_" names.

    Attributes:
        first: objective of the labels.
        second: objective of the teacher.
    """

    first: Objective
    second: Objective

    @property
    def layers(self) -> frozenset[int]:
        """Indices of the layers that either objective needs."""
        return self.first.layers | self.second.layers

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """Compute all parts of both, and the sum of their totals.

        Args:
            values: values of `layers`, by layer index.
            x: the batch (N, C, H, W).
            truths: its labels, see `darkconv.backends.torch.losses.head_loss`.
            seen: number of pictures trained on before.
        """
        costs = self.first.costs(values, x, truths, seen)
        others = self.second.costs(values, x, truths, seen)
        total = costs.pop("loss") + others.pop("loss")
        return {**costs, **{f"teacher_{k}": v for k, v in others.items()}, "loss": total}
