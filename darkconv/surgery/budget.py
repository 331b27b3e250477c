"""What a network with fewer channels costs, and how much it may cost."""

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
"""Of a value in a weights file."""

SHARES = ("params", "macs", "latency")
KINDS = (*SHARES, "size")
"""Parameters, multiply-accumulates and time as shares of the whole; bytes of the weights file."""


@dataclass(frozen=True)
class Budget:
    """The most that is to be kept.

    Attributes:
        kind: one of `KINDS`.
        limit: a share, or bytes.
    """

    kind: str
    limit: float


class Costs:
    """Costs of a network without some classes: the smaller network is built and asked."""

    def __init__(
        self, classes: ChannelClasses, header: Header, times: LayerTimes | None = None
    ) -> None:
        self.classes = classes
        self.header = header
        self.times = times
        self.whole = self.of(np.zeros(classes.count, bool))

    def of(self, removed: Mask) -> dict[str, float]:
        """Parameters, multiply-accumulates, milliseconds where known, and bytes, by `KINDS`."""
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
        """(4, layers) of each layer a, b, c and d of `Bill`."""
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
        """Return the budget of which the most is used, and how much of it: above 1, too much."""
        left = self.of(removed)
        shares = [left[budget.kind] / self.limit(budget) for budget in budgets]
        place = max(range(len(shares)), key=shares.__getitem__)
        return budgets[place], shares[place]

    def share(self, budget: Budget, removed: Mask) -> float:
        """What is left, as a share of the budget."""
        return self.tightest([budget], removed)[1]

    def limit(self, budget: Budget) -> float:
        """Return the most that is to be kept, in what `of` counts in."""
        return budget.limit * (self.whole[budget.kind] if budget.kind in SHARES else 1)

    def describe(self, budget: Budget, removed: Mask) -> str:
        """What is left, in the budget's unit."""
        left = self.of(removed)[budget.kind]
        if budget.kind == "size":
            return f"{left:,.0f} bytes"
        what = {"params": "parameters", "macs": "MACs", "latency": "time"}[budget.kind]
        return f"{left / (self.whole[budget.kind] or 1):.1%} of the {what}"


def _term(slot: Slot) -> int:
    """Which of a, b, c and d of `Bill` an array belongs to."""
    return (slot.in_axis is not None) + 2 * (slot.out_axis is not None)


class Bill:
    """What a network costs with so many classes of each family gone, without building it.

    The costs of a layer are taken for a + b i + c o + d i o, where i and o are the shares of its
    input and output channels that are left. This holds for parameters, and for multiply-accumulates
    but for blurs; it is good enough to compare families by. `Costs` has the true ones.
    """

    def __init__(self, costs: "Costs", families: Sequence[Labels]) -> None:
        """Count how many channels of each layer belong to a class of each family."""
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
            gone: (families,) classes of each that are gone.
        """
        i, o = 1 - self.inputs @ gone, 1 - self.outputs @ gone
        return {kind: float(_bilinear(terms, i, o)) for kind, terms in self.terms.items()}

    def after(self, gone: Labels, steps: Labels) -> dict[str, Doubles]:
        """(families,) the costs if some more of one family went, by kind.

        Args:
            gone: as for `of`.
            steps: (families,) classes of each that would go.
        """
        i = (1 - self.inputs @ gone)[:, None] - self.inputs * steps
        o = (1 - self.outputs @ gone)[:, None] - self.outputs * steps
        return {kind: _bilinear(terms, i, o) for kind, terms in self.terms.items()}


def _bilinear(terms: Doubles, i: Doubles, o: Doubles) -> Doubles:
    """Sum of a + b i + c o + d i o over layers; terms are (4, layers)."""
    a, b, c, d = terms.reshape(4, len(i), *[1] * (i.ndim - 1))
    found: Doubles = (a + b * i + c * o + d * i * o).sum(axis=0)
    return found
