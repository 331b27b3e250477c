"""The score obs: channels are removed one by one, and the remaining weights refitted each time.

This is the optimal brain surgeon (Hassibi, Stork 1993) for whole channels. A layer reads inputs
with covariance C with weights W. Those of the removed channels R become zero, and the others are
free. If a ridge r holds them near their old values, the best of them leave the error

    E(R) = min tr((W' - W) H (W' - W)^T) = tr(W_R (inverse of H)_RR^-1 W_R^T),   H = C + r I

over all W' with W'_R = 0. The next channel b costs tr(W_b (inverse of H)_bb^-1 W_b^T) more, where W
and H are the remaining ones. Both follow from an update of the rank of b, without another inverse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

PENDING = 256
"""Number of columns of updates that are collected and applied in one product of matrices."""


@dataclass(frozen=True, eq=False)
class LayerMoments:
    """The data about a layer that refitting needs.

    Attributes:
        weights: float64 (filters, columns), one column for each input channel and tap of the
            kernel.
        moments: float64 (columns, columns): covariance of what the columns read.
        owners: int64 (columns,): channel group of the channel that each column reads.
    """

    weights: Doubles
    moments: Doubles
    owners: Labels

    @property
    def spread(self) -> float:
        """Return the variance of the layer's output, summed over all filters."""
        return float(((self.weights @ self.moments) * self.weights).sum())

    def held(self, ridge: float) -> Doubles:
        """Return the covariance with the ridge added to its diagonal.

        Args:
            ridge: the ridge as a share of the mean of the diagonal.

        Returns:
            float64 (columns, columns).
        """
        held = self.moments.copy()
        size = max(float(held.diagonal().mean()), float(np.finfo(np.float32).tiny))
        held[np.diag_indices_from(held)] += ridge * size
        return held

    def refit(self, gone: npt.NDArray[np.bool_], ridge: float) -> Doubles:
        """Return the change of the weights that best makes up for removed columns.

        Args:
            gone: boolean (columns,), True for those that become zero.
            ridge: see `eliminate`.

        Returns:
            float64 (filters, columns), to be added to the weights.
        """
        change = np.where(gone, -self.weights, 0.0)
        stay = ~gone
        if stay.any() and gone.any():
            lost = self.weights[:, gone] @ self.moments[np.ix_(gone, stay)]
            held = self.held(ridge)[np.ix_(stay, stay)]
            change[:, stay] = np.linalg.solve(held, lost.T).T
        return change


@dataclass(frozen=True, eq=False)
class Blocks:
    """The columns of all channel groups that have the same number k of them.

    Attributes:
        places: int64 (n,): indices of the groups among those that may be removed.
        columns: int64 (n, k): columns of each group.
        inverse: float64 (n, k, k): their blocks of the inverse of H.
        squares: float64 (n, k, k): their blocks of the weights' products.
    """

    places: Labels
    columns: Labels
    inverse: Doubles
    squares: Doubles

    def costs(self) -> Doubles:
        """Return the growth of the error if each group is removed.

        Returns:
            float64 (n,).
        """
        found: Doubles = np.linalg.solve(self.inverse, self.squares).trace(axis1=1, axis2=2)
        return found

    def update(self, factor: Doubles, partner: Doubles) -> None:
        """Update the blocks, in place, after the removal of a group; see `Side.remove`.

        Args:
            factor: U, float64 (columns, k).
            partner: Y, float64 (columns, k).
        """
        u, y = factor[self.columns], partner[self.columns]
        cross = u @ y.transpose(0, 2, 1)
        self.inverse[...] -= u @ u.transpose(0, 2, 1)
        self.squares[...] -= cross + cross.transpose(0, 2, 1)

    def without(self, place: int, renumbered: Labels) -> "Blocks":
        """Return the blocks of the other groups, with their columns renumbered.

        Args:
            place: index of the removed group among those that may be removed; -1 for none.
            renumbered: int64 (columns,): the new index of each column.
        """
        stay = self.places != place
        return Blocks(
            self.places[stay],
            renumbered[self.columns[stay]],
            self.inverse[stay],
            self.squares[stay],
        )


class Side:
    """A layer that reads channel groups while they are removed one by one.

    Only the products of the weights (columns, columns) are stored, because the costs need no more.
    """

    def __init__(self, reading: LayerMoments, labels: Labels, ridge: float) -> None:
        self.spread = max(reading.spread, float(np.finfo(np.float32).tiny))
        self.inverse = np.linalg.inv(reading.held(ridge)).astype(np.float64)
        self.squares: Doubles = reading.weights.T @ reading.weights
        self.factors, self.partners = (np.empty((len(self.inverse), 0)) for _ in range(2))
        self.alive = np.ones(len(self.inverse), bool)
        self.blocks = list(self._blocks(reading.owners, labels))

    def _blocks(self, owners: Labels, labels: Labels) -> Iterator[Blocks]:
        own = [np.flatnonzero(owners == label) for label in labels.tolist()]
        for size in sorted({len(columns) for columns in own} - {0}):
            places = [place for place, columns in enumerate(own) if len(columns) == size]
            columns = np.stack([own[place] for place in places])
            index = columns[:, :, None], columns[:, None, :]
            yield Blocks(np.array(places), columns, self.inverse[index], self.squares[index])

    def add_costs(self, costs: Doubles) -> None:
        """Add the cost of removing each group, as a share of the output's variance.

        Args:
            costs: float64 (groups,), changed in place.
        """
        for block in self.blocks:
            costs[block.places] += block.costs() / self.spread

    def remove(self, place: int) -> None:
        """Remove a group.

        With L L^T = inverse_bb the inverse loses U U^T, U = inverse_:b L^-T, and the weights'
        products Q lose U Y^T + Y U^T, Y = Q_:b L^-T - U (L^-1 Q_bb L^-T) / 2.

        Args:
            place: index of the group among those that may be removed.
        """
        for number, block in enumerate(self.blocks):
            (row,) = np.nonzero(block.places == place)
            if not len(row):
                continue
            columns = block.columns[row[0]]
            lower = np.linalg.cholesky(block.inverse[row[0]])
            factors, partners = self.factors, self.partners
            inverse = self.inverse[:, columns] - factors @ factors[columns].T
            squares = self.squares[:, columns]
            squares = squares - factors @ partners[columns].T - partners @ factors[columns].T
            factor, partner = (np.linalg.solve(lower, part.T).T for part in (inverse, squares))
            partner -= factor @ np.linalg.solve(lower, partner[columns]) / 2
            self.alive[columns] = False
            factor[~self.alive] = partner[~self.alive] = 0
            self.factors = np.concatenate([factors, factor], axis=1)
            self.partners = np.concatenate([partners, partner], axis=1)
            self.blocks[number] = block.without(place, np.arange(len(self.alive)))
            for other in self.blocks:
                other.update(factor, partner)
            if self.factors.shape[1] >= PENDING:
                self._apply()
            return

    def _apply(self) -> None:
        """Apply the collected updates, and drop the columns of removed groups."""
        stay = self.alive
        index = np.ix_(stay, stay)
        factors, partners = self.factors[stay], self.partners[stay]
        cross = factors @ partners.T
        self.inverse = self.inverse[index] - factors @ factors.T
        self.squares = self.squares[index] - cross - cross.T
        renumbered = np.cumsum(stay) - 1
        self.blocks = [block.without(-1, renumbered) for block in self.blocks]
        self.factors, self.partners = (part[:, :0] for part in (factors, partners))
        self.alive = np.ones(len(factors), bool)


def eliminate(
    labels: Labels, readings: Sequence[LayerMoments], ridge: float, fixed: Doubles | None = None
) -> Doubles:
    """Remove channel groups greedily, and return the error left after each removal.

    Args:
        labels: int64 (n,): channel groups that are alternatives to each other.
        readings: the layers that read them and can be refitted.
        ridge: cost of changing a weight, as a share of the mean variance of the inputs.
        fixed: float64 (n,): a further cost of removing each group, whatever else is removed; None
            for none.

    Returns:
        float64 (n,), ascending in the order of removal: the error once a group and all before it
            are removed, as a share of the variance of the layers' outputs, summed over the layers.
    """
    sides = [Side(reading, labels, ridge) for reading in readings]
    extra = np.zeros(len(labels)) if fixed is None else fixed
    errors, total = np.full(len(labels), np.nan), 0.0
    for _ in range(len(labels)):
        costs = np.where(np.isnan(errors), extra, np.inf)
        for side in sides:
            side.add_costs(costs)
        place = int(costs.argmin())
        total = max(total + float(costs[place]), np.nextafter(total, np.inf))
        errors[place] = total
        for side in sides:
            side.remove(place)
    return errors
