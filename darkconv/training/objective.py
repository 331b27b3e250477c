"""What training makes small: the labels' loss, or the distance from a teacher, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from darkconv.core.network import Layer, Network
from darkconv.darknet.class_map import read_class_map
from darkconv.errors import UnsupportedError
from darkconv.layers.box_heads import check_anchors
from darkconv.training.losses import LossReport, Rule, has_loss, head_loss

Costs = dict[str, Tensor]
"""Parts of what a batch costs, each a scalar summed over its pictures; `loss` is the total."""

PARTS = ("box", "objectness", "no_object", "classes")
QUALITIES = ("iou", "recall")


class Objective(Protocol):
    """What a network's values for a batch cost."""

    @property
    def layers(self) -> frozenset[int]:
        """Numbers of the layers whose values are needed."""

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """The parts.

        Args:
            values: of `layers`.
            x: the batch (N, C, H, W).
            truths: its labels; see `darkconv.training.losses.head_loss`.
            seen: pictures that the network has been trained on before.
        """


@dataclass(frozen=True)
class LabelObjective:
    """The losses of all heads, summed, or their mean as C has it for what it prints.

    Attributes:
        network: whose heads are trained.
        rule: see `darkconv.training.losses`.
        class_weights: factor of each class on what its objects cost; empty for equal ones.
    """

    network: Network
    rule: Rule = "default"
    class_weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise an error if no layer has a loss, or a head lacks an anchor."""
        if not self.heads:
            raise UnsupportedError(
                f"{self.network.file}: no layer has a loss to train by",
                expected="a [yolo], [region] or another head, [softmax], [logistic] or [cost]",
            )
        for head in self.heads:
            check_anchors(head, self.network)
        assert self.maps.keys()  # read now, so that an error comes before the training

    @property
    def heads(self) -> list[Layer]:
        """The layers that have a loss; a [cost] behind a [softmax] repeats it."""
        found = [layer for layer in self.network.layers if has_loss(layer)]
        return [la for la in found if la.type != "cost"] or found

    @cached_property
    def maps(self) -> dict[int, tuple[int, ...]]:
        """The content of each head's `map=`, by the head's number."""
        return {head.index: read_class_map(head, self.network) for head in self.heads}

    @property
    def layers(self) -> frozenset[int]:
        """What enters the heads."""
        return frozenset(head.sources[0] for head in self.heads)

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """Parts of all heads, and the quality of their boxes in the mean."""
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
    """The sum of two objectives: labels and a teacher. Parts of the second bear its name."""

    first: Objective
    second: Objective

    @property
    def layers(self) -> frozenset[int]:
        """Those of both."""
        return self.first.layers | self.second.layers

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """All parts."""
        costs = self.first.costs(values, x, truths, seen)
        others = self.second.costs(values, x, truths, seen)
        total = costs.pop("loss") + others.pop("loss")
        return {**costs, **{f"teacher_{k}": v for k, v in others.items()}, "loss": total}
