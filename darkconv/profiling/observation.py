"""Observation: sums, squares and samples of all channels over a batch, side by side."""

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


@dataclass(frozen=True)
class LayerColumns:
    """The columns of a layer's channels among those of all layers.

    Attributes:
        start: its first column, from 0.
        channels: number of its channels.
        positions: number of values of each channel in a picture.
    """

    start: int
    channels: int
    positions: int

    @property
    def columns(self) -> slice:
        """Columns of its channels."""
        return slice(self.start, self.start + self.channels)


class ColumnLayout:
    """The channels of all measured layers, side by side as columns.

    Layers that only pass channels on (dropout, routes of maps, plain upsampling) are left out:
    their statistics follow from their sources'.

    Attributes:
        places: place of each measured layer, by its index.
        positions: (columns,) number of values of each channel in one picture.
    """

    def __init__(self, network: Network) -> None:
        self.places: dict[int, LayerColumns] = {}
        positions: list[int] = []
        for layer in network.layers:
            if hands_on(layer):
                continue
            channels, size = layer.out_shape.c, layer.out_shape.size // layer.out_shape.c
            self.places[layer.index] = LayerColumns(len(positions), channels, size)
            positions += channels * [size]
        self.positions = np.array(positions, np.float64)

    def layer_at(self, column: int) -> int:
        """Return the index of the layer that has a column.

        Args:
            column: number of the column, from 0.
        """
        return next(i for i, place in self.places.items() if column < place.columns.stop)


class ChannelShift:
    """Values that are subtracted from those of some channels before they are summed.

    Attributes:
        amounts: (columns,) values, rounded to float32.
        parts: (channels,) values of the layers that have any, by layer index.
    """

    def __init__(self, amounts: Doubles, layout: ColumnLayout, device: torch.device) -> None:
        rounded = amounts.astype(np.float32)
        self.amounts = rounded.astype(np.float64)
        self.parts = {
            index: torch.from_numpy(rounded[place.columns]).to(device)
            for index, place in layout.places.items()
            if rounded[place.columns].any()
        }


class Observation:
    """Sums over a batch, filled layer by layer, with channels last.

    Everything is written into memory that is used again: new blocks between the large ones of the
    forward pass would cost more time than all the sums. torch.sum adds in a cascade, so float32 is
    accurate enough for the positions of a picture.

    Attributes:
        samples: (N, picks, columns) sampled values.
    """

    def __init__(self, layout: ColumnLayout, picks: Tensor) -> None:
        """Allocate memory for batches of as many pictures as `picks` (N, picks) has rows."""
        self.layout = layout
        count, columns = len(picks), len(layout.positions)
        self.sums = picks.new_empty((count, columns))
        self.squares = picks.new_empty((count, columns))
        self.samples = picks.new_empty((count, picks.shape[1], columns))
        places = layout.places.values()
        largest = max((place.channels * place.positions for place in places), default=0)
        self.room = picks.new_empty(count * largest)
        self.sampled = {place.positions: picks.long().unsqueeze(2) for place in places}

    def begin(self, shift: ChannelShift, picks: Tensor) -> None:
        """Begin a new batch.

        Args:
            shift: values to subtract.
            picks: (N, picks) positions to sample, as shares 0..1 of a channel's positions.
        """
        self.shift = shift
        for positions, chosen in self.sampled.items():
            chosen.copy_((picks * positions).unsqueeze(2))

    def take(self, index: int, value: Tensor) -> None:
        """Add the value of a layer; layers that are not measured are ignored.

        Args:
            index: index of the layer, from 0.
            value: (N, ...) its output.
        """
        place = self.layout.places.get(index)
        if place is None:
            return
        columns, channels = place.columns, place.channels
        flat = value.reshape(len(value), channels, place.positions).transpose(1, 2).contiguous()
        chosen = self.sampled[place.positions].expand(-1, -1, channels)
        torch.gather(flat, 1, chosen, out=self.samples[:, :, columns])
        room = self.room[: flat.numel()].view(flat.shape)
        if index in self.shift.parts:
            flat = torch.sub(flat, self.shift.parts[index], out=room)
        torch.sum(flat, 1, out=self.sums[:, columns])
        torch.sum(torch.mul(flat, flat, out=room), 1, out=self.squares[:, columns])

    def totals(self) -> tuple[Doubles, Doubles]:
        """Return the sums of shifted values and of their squares, float64 (N, columns) both."""
        sums, squares = (
            part.cpu().numpy().astype(np.float64) for part in (self.sums, self.squares)
        )
        return sums, squares


def hands_on(layer: Layer) -> bool:
    """Return True if a layer's statistics follow from those of its sources.

    Args:
        layer: any layer of a network.
    """
    spec = layer.spec
    if min(layer.sources, default=-1) < 0:
        return False
    if isinstance(spec, Upsample):
        return spec.stride > 0 and spec.scale == 1
    if isinstance(spec, Route):
        return layer.out_shape.is_map
    return isinstance(spec, (Dropout, Empty))
