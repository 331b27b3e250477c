"""LayerTimes: the measured time of each layer with fewer channels."""

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
    """The measured times of one layer.

    Attributes:
        inputs: int64 (i,): numbers of input channels, ascending; the last is that of the whole
            layer.
        outputs: int64 (o,): numbers of output channels, in the same way.
        milliseconds: float64 (i, o): the time with these numbers; more channels never take less.
    """

    inputs: Counts
    outputs: Counts
    milliseconds: Doubles

    def of(self, inputs: int, outputs: int) -> float:
        """Return the time in milliseconds, interpolated linearly between the measured ones.

        Args:
            inputs: number of input channels.
            outputs: number of output channels.
        """
        rows, columns = _weights(self.inputs, inputs), _weights(self.outputs, outputs)
        return max(0.0, float(rows @ self.milliseconds @ columns))

    def terms(self) -> Doubles:
        """Return the a, b, c and d for which a + b i + c o + d i o fits the times best.

        i and o are shares of the layer's input and output channels; the fit is by least squares.

        Returns:
            float64 (4,).
        """
        i, o = np.meshgrid(
            self.inputs / self.inputs[-1], self.outputs / self.outputs[-1], indexing="ij"
        )
        columns = np.stack([np.ones_like(i), i, o, i * o], axis=-1).reshape(-1, 4)
        found: Doubles = np.linalg.lstsq(columns, self.milliseconds.ravel(), rcond=None)[0]
        return found


def _weights(counts: Counts, count: int) -> Doubles:
    """Return the weight of each measured number of channels in the interpolation."""
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
    """The measured times of a network's layers; `dc.measure_times` makes one.

    Attributes:
        layers: times by layer index; layers that are not listed take no time.
        total: number of the network's layers.
        conditions: text that says how the times were measured.
    """

    layers: Mapping[int, Times]
    total: int
    conditions: str = ""

    def check_is_of(self, network: Network) -> None:
        """Check that the times belong to a network.

        Args:
            network: the network that should have been measured.

        Raises:
            PlanError: the number of layers, or of channels, differs.
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
        """Return the time of all layers together, in milliseconds.

        Args:
            network: the measured network, or a smaller one with the same layers.
        """
        pairs = ((times, network.layers[index]) for index, times in self.layers.items())
        return sum(times.of(*channels_of(layer)) for times, layer in pairs)

    def terms(self) -> Doubles:
        """Return the terms a, b, c and d of each layer; see `Times.terms`.

        Returns:
            float64 (4, layers).
        """
        found = np.zeros((4, self.total))
        for index, times in self.layers.items():
            found[:, index] = times.terms()
        return found


def channels_of(layer: Layer) -> tuple[int, int]:
    """Return the numbers of a layer's input and output channels.

    Args:
        layer: any layer.
    """
    return sum(shape.c for shape in layer.in_shapes), layer.out_shape.c
