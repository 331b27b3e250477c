"""What a network with fewer channels costs, and how much it may cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Header
from darkconv.core.removal import resized
from darkconv.darknet.weights import file_size
from darkconv.surgery.channels import ChannelClasses

Mask = npt.NDArray[np.bool_]

SHARES = ("params", "macs")
KINDS = (*SHARES, "size")
"""Parameters and multiply-accumulates as shares of the whole; bytes of the weights file."""


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

    def __init__(self, classes: ChannelClasses, header: Header) -> None:
        self.classes = classes
        self.header = header
        self.whole = self.of(np.zeros(classes.count, bool))

    def of(self, removed: Mask) -> dict[str, int]:
        """Parameters, multiply-accumulates and bytes, by `KINDS`."""
        network = self.classes.network
        counts = {
            layer.index: int((~removed[self.classes.of(layer.index)]).sum())
            for layer in network.layers
        }
        smaller = resized(network, counts)
        return {
            "params": smaller.parameters,
            "macs": smaller.macs,
            "size": file_size(smaller, self.header),
        }

    def tightest(self, budgets: Sequence[Budget], removed: Mask) -> tuple[Budget, float]:
        """Return the budget of which the most is used, and how much of it: above 1, too much."""
        left = self.of(removed)
        shares = [left[budget.kind] / self._limit(budget) for budget in budgets]
        place = max(range(len(shares)), key=shares.__getitem__)
        return budgets[place], shares[place]

    def share(self, budget: Budget, removed: Mask) -> float:
        """What is left, as a share of the budget."""
        return self.tightest([budget], removed)[1]

    def _limit(self, budget: Budget) -> float:
        return budget.limit * (self.whole[budget.kind] if budget.kind in SHARES else 1)

    def describe(self, budget: Budget, removed: Mask) -> str:
        """What is left, in the budget's unit."""
        left = self.of(removed)[budget.kind]
        if budget.kind == "size":
            return f"{left:,} bytes"
        what = {"params": "parameters", "macs": "MACs"}[budget.kind]
        return f"{left / max(self.whole[budget.kind], 1):.1%} of the {what}"
