"""LayerTimes: how long each layer takes with fewer channels, as somebody measured it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.network import Layer, Network
from darkconv.errors import PlanError, Where

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Times:
    """How long one layer takes.

    Attributes:
        inputs: (i,) numbers of input channels, rising; the last is that of the whole layer.
        outputs: (o,) the same of output channels.
        milliseconds: (i, o) with so many of both; more channels never take less.
    """

    inputs: Counts
    outputs: Counts
    milliseconds: Doubles

    def of(self, inputs: int, outputs: int) -> float:
        """Return the time with so many channels: between what was measured, straight lines."""
        rows, columns = _weights(self.inputs, inputs), _weights(self.outputs, outputs)
        return max(0.0, float(rows @ self.milliseconds @ columns))

    def terms(self) -> Doubles:
        """(4,) a, b, c and d of the a + b i + c o + d i o that comes nearest."""
        i, o = np.meshgrid(
            self.inputs / self.inputs[-1], self.outputs / self.outputs[-1], indexing="ij"
        )
        columns = np.stack([np.ones_like(i), i, o, i * o], axis=-1).reshape(-1, 4)
        found: Doubles = np.linalg.lstsq(columns, self.milliseconds.ravel(), rcond=None)[0]
        return found


def _weights(counts: Counts, count: int) -> Doubles:
    """What each measured number of channels counts for another number."""
    found = np.zeros(len(counts))
    if len(counts) == 1:
        found[0] = 1
        return found
    place = int(np.clip(np.searchsorted(counts, count) - 1, 0, len(counts) - 2))
    share = (count - counts[place]) / (counts[place + 1] - counts[place])
    found[place], found[place + 1] = 1 - share, share
    return found


@dataclass(frozen=True, eq=False)
class LayerTimes:
    """How long the layers of a network take: `dc.measure_times` makes one.

    Attributes:
        layers: by index; layers that are not named take no time.
        total: number of the network's layers.
        conditions: how it was measured, in words.
    """

    layers: Mapping[int, Times]
    total: int
    conditions: str = ""

    def check_is_of(self, network: Network) -> None:
        """Check that the layers are those of a network.

        Raises:
            PlanError: they are not.
        """
        if self.total != len(network.layers):
            raise PlanError(
                f"times are of another network than {network.file}",
                expected=f"{len(network.layers)} layers",
                found=self.total,
            )
        for index, times in self.layers.items():
            expected = channels_of(network.layers[index])
            found = int(times.inputs[-1]), int(times.outputs[-1])
            if found != expected:
                raise PlanError(
                    f"times are of another network than {network.file}",
                    where=Where(layer=index),
                    expected="{} -> {} channels".format(*expected),
                    found="{} -> {}".format(*found),
                )

    def of(self, network: Network) -> float:
        """Return the milliseconds of all layers together, of the network or a smaller one."""
        pairs = ((times, network.layers[index]) for index, times in self.layers.items())
        return sum(times.of(*channels_of(layer)) for times, layer in pairs)

    def terms(self) -> Doubles:
        """(4, layers) of each layer a, b, c and d: see `Times.terms`."""
        found = np.zeros((4, self.total))
        for index, times in self.layers.items():
            found[:, index] = times.terms()
        return found


def channels_of(layer: Layer) -> tuple[int, int]:
    """Return the numbers of a layer's input and output channels."""
    return sum(shape.c for shape in layer.in_shapes), layer.out_shape.c
