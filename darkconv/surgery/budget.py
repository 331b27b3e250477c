"""The costs of a network with fewer channels, and budgets that limit them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Header
from darkconv.core.removal import resized
from darkconv.core.spec import Slot
from darkconv.darknet.weights import file_size
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.layer_times import LayerTimes

Mask = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

BYTES = 4
"""Number of bytes of a value in a weights file."""

SHARES = ("params", "macs", "latency")
KINDS = (*SHARES, "size")
"""The kinds of budgets.

Parameters, multiply-accumulate operations and time are limited as shares of the whole model's, size
as the bytes of the weights file.
"""


@dataclass(frozen=True)
class Budget:
    """An upper limit for one of the costs.

    Attributes:
        kind: one of `KINDS`.
        limit: a share from 0 to 1, or bytes.
    """

    kind: str
    limit: float


class Costs:
    """The costs of a network without some channel groups, computed by building the smaller network.

    Attributes:
        classes: the channel groups of the network.
        header: header of the weights file, for its size.
        times: measured times of the layers; None if latency is not needed.
        whole: the costs of the whole network by kind.
    """

    def __init__(
        self, classes: ChannelClasses, header: Header, times: LayerTimes | None = None
    ) -> None:
        self.classes = classes
        self.header = header
        self.times = times
        self.whole = self.of(np.zeros(classes.count, bool))

    def of(self, removed: Mask) -> dict[str, float]:
        """Return the costs of the network without some channel groups, by kind.

        Args:
            removed: boolean (groups,), True for removed ones.

        Returns:
            Parameters, multiply-accumulate operations and bytes, and milliseconds if times are
                known.
        """
        network = self.classes.network
        counts = {
            layer.index: int((~removed[self.classes.of(layer.index)]).sum())
            for layer in network.layers
        }
        smaller = resized(network, counts)
        found: dict[str, float] = {
            "params": smaller.parameters,
            "macs": smaller.macs,
            "size": file_size(smaller, self.header),
        }
        return found if self.times is None else {**found, "latency": self.times.of(smaller)}

    def terms(self, kind: str) -> Doubles:
        """Return the terms of `Bill` for one kind of cost.

        Args:
            kind: one of `KINDS`.

        Returns:
            float64 (4, layers): a, b, c and d of each layer.
        """
        found = np.zeros((4, len(self.classes.network.layers)))
        if kind == "latency" and self.times is not None:
            return self.times.terms()
        for layer in self.classes.network.layers:
            slots = layer.slots
            if kind == "macs":
                slots = slots or layer.spec.borrowed_slots(layer.in_shapes)
                largest = max(slots, key=lambda slot: slot.size, default=None)
                found[_term(largest) if largest else 2, layer.index] = layer.macs
            else:
                for slot in slots:
                    size = slot.size * (1 if kind == "params" else BYTES)
                    found[_term(slot), layer.index] += size
        return found

    def tightest(self, budgets: Sequence[Budget], removed: Mask) -> tuple[Budget, float]:
        """Return the budget that is used up most, and the used share of it: above 1 it is exceeded.

        Args:
            budgets: the budgets to compare.
            removed: boolean (groups,), True for removed ones.
        """
        left = self.of(removed)
        shares = [left[budget.kind] / self.limit(budget) for budget in budgets]
        place = max(range(len(shares)), key=shares.__getitem__)
        return budgets[place], shares[place]

    def share(self, budget: Budget, removed: Mask) -> float:
        """Return the cost as a share of the budget; above 1 the budget is exceeded.

        Args:
            budget: the budget to compare with.
            removed: boolean (groups,), True for removed ones.
        """
        return self.tightest([budget], removed)[1]

    def limit(self, budget: Budget) -> float:
        """Return the limit of a budget as an absolute number, in the unit of `of`.

        Args:
            budget: the budget, whose own limit may be a share.
        """
        return budget.limit * (self.whole[budget.kind] if budget.kind in SHARES else 1)

    def describe(self, budget: Budget, removed: Mask) -> str:
        """Return a text with the cost in the unit of a budget.

        Args:
            budget: decides the kind of cost.
            removed: boolean (groups,), True for removed ones.

        Returns:
            The share of the whole network's cost in percent, or the bytes.
        """
        left = self.of(removed)[budget.kind]
        if budget.kind == "size":
            return f"{left:,.0f} bytes"
        what = {"params": "parameters", "macs": "MACs", "latency": "time"}[budget.kind]
        return f"{left / (self.whole[budget.kind] or 1):.1%} of the {what}"


def _term(slot: Slot) -> int:
    """Return the index of the term of `Bill` that an array belongs to."""
    return (slot.in_axis is not None) + 2 * (slot.out_axis is not None)


class Bill:
    """An estimate of the costs without some channel groups, which builds no network.

    The cost of a layer is taken as a + b i + c o + d i o, where i and o are the remaining shares of
    its input and output channels. This is exact for parameters, and for multiply-accumulate
    operations except those of blurs. It is precise enough to compare families; `Costs` gives the
    exact costs.
    """

    def __init__(self, costs: "Costs", families: Sequence[Labels]) -> None:
        """Count the channels of each layer that belong to a channel group of each family."""
        self.whole = costs.whole
        self.limit = costs.limit
        layers = costs.classes.network.layers
        self.inputs, self.outputs = (np.zeros((len(layers), len(families))) for _ in range(2))
        places = np.full(costs.classes.count, -1)
        sizes = np.array([len(family) for family in families])
        for number, family in enumerate(families):
            places[family] = number
        for layer in layers:
            read = [costs.classes.of(source) for source in layer.sources]
            labels = np.concatenate([np.empty(0, np.int64), *read]), costs.classes.of(layer.index)
            for own, counts in zip(labels, (self.inputs, self.outputs), strict=True):
                found = places[own]
                each = np.bincount(found[found >= 0], minlength=len(families))
                counts[layer.index] = each / np.maximum(sizes, 1) / max(len(own), 1)
        self.terms = {kind: costs.terms(kind) for kind in self.whole}

    def of(self, gone: Labels) -> dict[str, float]:
        """Return the costs, by kind.

        Args:
            gone: (families,) number of removed channel groups.
        """
        i, o = 1 - self.inputs @ gone, 1 - self.outputs @ gone
        return {kind: float(_bilinear(terms, i, o)) for kind, terms in self.terms.items()}

    def after(self, gone: Labels, steps: Labels) -> dict[str, Doubles]:
        """Return the costs if further channel groups of one family were removed.

        Args:
            gone: (families,) number of channel groups removed so far.
            steps: (families,) number of further ones to remove.

        Returns:
            float64 (families,) by kind: the costs after the step of each family alone.
        """
        i = (1 - self.inputs @ gone)[:, None] - self.inputs * steps
        o = (1 - self.outputs @ gone)[:, None] - self.outputs * steps
        return {kind: _bilinear(terms, i, o) for kind, terms in self.terms.items()}


def _bilinear(terms: Doubles, i: Doubles, o: Doubles) -> Doubles:
    """Return the sum of a + b i + c o + d i o over layers; terms are (4, layers)."""
    a, b, c, d = terms.reshape(4, len(i), *[1] * (i.ndim - 1))
    found: Doubles = (a + b * i + c * o + d * i * o).sum(axis=0)
    return found
