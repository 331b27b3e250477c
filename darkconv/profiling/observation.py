"""What a batch leaves behind: sums, norms and samples of every channel, side by side."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darkconv.core.network import Layer, Network
from darkconv.layers.inert import Dropout, Empty
from darkconv.layers.merge import Route
from darkconv.layers.resize import Upsample

Doubles = npt.NDArray[np.float64]

SHORTEST_ROW = 64
LONGEST_ROW = 800
"""Values whose squares float32 adds up; norms are fast, but their rounding grows with this."""


@dataclass(frozen=True)
class Place:
    """Where the channels of a layer stand.

    Attributes:
        columns: of its channels.
        rows: of its channels' rows; each channel is cut into rows of equal length.
        row: length of a row.
    """

    columns: slice
    rows: slice
    row: int


class Layout:
    """All measured layers' channels in one line.

    Layers that only hand channels on (dropout, routes of maps, plain upsampling) are left out:
    their statistics follow from their sources'.

    Attributes:
        places: of the measured layers.
        positions: (columns,) values of each channel in one picture.
        starts: (columns,) first row of each channel.
        rows: number of rows.
    """

    def __init__(self, network: Network) -> None:
        self.places: dict[int, Place] = {}
        positions: list[int] = []
        counts: list[int] = []
        self.rows = 0
        for layer in network.layers:
            if hands_on(layer):
                continue
            channels, size = layer.out_shape.c, layer.out_shape.size // layer.out_shape.c
            row = row_length(size)
            columns = slice(len(positions), len(positions) + channels)
            rows = slice(self.rows, self.rows + channels * (size // row))
            self.places[layer.index] = Place(columns, rows, row)
            positions += channels * [size]
            counts += channels * [size // row]
            self.rows = rows.stop
        self.positions = np.array(positions, np.float64)
        self.starts = np.cumsum([0, *counts[:-1]])
        self.ends = np.cumsum(counts)

    def layer_at(self, column: int) -> int:
        """The layer that has a column."""
        return next(i for i, place in self.places.items() if column < place.columns.stop)


class Shift:
    """What is taken off the values of some channels before they are summed.

    Attributes:
        amounts: (columns,) exactly what float32 holds.
    """

    def __init__(self, amounts: Doubles, layout: Layout, device: torch.device) -> None:
        self.amounts = amounts.astype(np.float32).astype(np.float64)
        self.parts: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}
        for index, place in layout.places.items():
            chosen = np.flatnonzero(self.amounts[place.columns])
            if len(chosen):
                columns = chosen + place.columns.start
                rows = [np.arange(layout.starts[c], layout.ends[c]) for c in columns]
                values = torch.from_numpy(self.amounts[columns].astype(np.float32)).view(-1, 1)
                self.parts[index] = (
                    torch.from_numpy(chosen).to(device),
                    torch.from_numpy(columns).to(device),
                    torch.from_numpy(np.concatenate(rows)).to(device),
                    values.to(device),
                )


class Observation:
    """A batch, taken in layer by layer.

    Everything is written into memory that stays: blocks of its own, between the large ones of
    the forward pass, would cost more than all the sums.

    Attributes:
        samples: (N, columns, picks) sampled values.
    """

    def __init__(self, layout: Layout, picks: Tensor) -> None:
        """Make room for batches of as many pictures as `picks` (N, picks) has rows."""
        self.layout = layout
        count, columns = len(picks), len(layout.positions)
        self.sums = picks.new_empty((count, columns))
        self.norms = picks.new_empty((count, layout.rows))
        self.samples = picks.new_empty((count, columns, picks.shape[1]))
        self.sampled = {int(size): picks.long().unsqueeze(1) for size in {*layout.positions}}
        self.parts = {index: self._parts(place) for index, place in layout.places.items()}

    def _parts(self, place: Place) -> tuple[list[int], list[int], Tensor, Tensor, Tensor, Tensor]:
        """Shapes of a layer's value, positions to sample, and where the results go."""
        columns, rows = place.columns, place.rows
        channels = columns.stop - columns.start
        size = place.row * (rows.stop - rows.start) // channels
        return (
            [len(self.sums), channels, size],
            [len(self.sums), rows.stop - rows.start, place.row],
            self.sampled[size].expand(-1, channels, -1),
            self.sums[:, columns],
            self.norms[:, rows],
            self.samples[:, columns],
        )

    def begin(self, shift: Shift, picks: Tensor) -> None:
        """Turn to a batch; picks (N, picks) in 0..1 are the positions to sample."""
        self.shift = shift
        for size, positions in self.sampled.items():
            positions.copy_((picks * size).unsqueeze(1))

    def take(self, index: int, value: Tensor) -> None:
        """Take in the value of a layer, (N, ...); layers that are not measured are ignored."""
        if index not in self.parts:
            return
        shape, cut, positions, sums, norms, samples = self.parts[index]
        flat = value.reshape(shape)
        torch.sum(flat, 2, out=sums)
        torch.linalg.vector_norm(flat.view(cut), dim=2, out=norms)
        torch.gather(flat, 2, positions, out=samples)
        if index in self.shift.parts:
            chosen, columns, rows, amounts = self.shift.parts[index]
            part = flat.index_select(1, chosen).sub_(amounts)
            self.sums.index_copy_(1, columns, part.sum(2))
            part = part.view(len(part), -1, cut[2])
            self.norms.index_copy_(1, rows, torch.linalg.vector_norm(part, dim=2))

    def totals(self) -> tuple[Doubles, Doubles]:
        """(N, columns) sums of the shifted values and of their squares, in double precision."""
        sums, norms = (part.cpu().numpy().astype(np.float64) for part in (self.sums, self.norms))
        return sums, np.add.reduceat(norms**2, self.layout.starts, axis=1)


def hands_on(layer: Layer) -> bool:
    """Whether a layer's statistics follow from its sources'."""
    spec = layer.spec
    if min(layer.sources, default=-1) < 0:
        return False
    if isinstance(spec, Upsample):
        return spec.stride > 0 and spec.scale == 1
    if isinstance(spec, Route):
        return layer.out_shape.is_map
    return isinstance(spec, (Dropout, Empty))


@functools.cache
def row_length(positions: int) -> int:
    """A divisor of the number of positions that makes rows of a good length."""
    longest = max(n for n in range(1, LONGEST_ROW + 1) if positions % n == 0)
    return longest if longest >= SHORTEST_ROW else positions
