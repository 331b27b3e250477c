"""Convert the numbers by which PyTorch programs weight a [shortcut]'s sources to Darknet's weights.

The programs multiply source i of n by 2 / n * sigmoid(u_i). AlexeyAB's program multiplies it by
max(v_i, 0) / (0.0001 + the sum of all), or by a softmax; such factors add up to nearly one. Factors
that add up to less than one can be expressed as such shares of max(v, 0), others cannot.
"""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.section import Config
from darkconv.core.unchanging import frozen
from darkconv.errors import WeightsError, Where
from darkconv.imports.found import RATIOS, Unit
from darkconv.layers.merge import WEIGHT_EPSILON, Shortcut

Doubles = npt.NDArray[np.float64]

NEARLY_ONE = 1e-6
"""The rounding error of the sum of factors: a sum this close to one is taken for one."""


def program_factors(file: str, unit: Unit) -> Doubles:
    """Return the factors by which the program multiplies each source, float64 (sources,).

    Args:
        file: the file's name for messages.
        unit: the layer of the file, which has the numbers.

    Raises:
        WeightsError: the numbers are no floating-point numbers.
    """
    numbers = unit.parts[RATIOS].found.values(file).astype(np.float64).ravel()
    factors: Doubles = 2 / len(numbers) / (1 + np.exp(-numbers))
    return factors


def ratio_weights(file: str, unit: Unit, layer: Layer) -> Array:
    """Return the weights with which Darknet multiplies the sources by the program's factors.

    Args:
        file: the file's name for messages.
        unit: the layer of the file, which has the numbers.
        layer: the [shortcut] of the cfg, with weights_normalization=relu.

    Returns:
        (sources, 1 or channels) float32.

    Raises:
        WeightsError: the factors add up to more than one.
    """
    part, (slot,) = unit.parts[RATIOS], layer.slots
    factors = program_factors(file, unit)
    total = float(factors.sum())
    if total > 1 + NEARLY_ONE or math.isnan(total):
        raise WeightsError(
            f"layer {layer.index} [shortcut] cannot be Darknet's: the program multiplies its "
            f"sources by {', '.join(f'{factor:.4f}' for factor in factors)}, and Darknet's "
            "weights_normalization makes factors that add up to one at most",
            where=Where(file=file, option=part.found.name),
            expected="a sum of at most 1",
            found=f"{total:.6g}",
        )
    weights = factors * WEIGHT_EPSILON / max(1 - total, NEARLY_ONE * WEIGHT_EPSILON)
    return frozen(np.repeat(weights[:, None], slot.shape[1], axis=1).astype(np.float32))


def with_relu(network: Network, units: Iterable[tuple[int, Unit]]) -> tuple[Config, list[str]]:
    """Return the cfg in which the [shortcut] layers that have such numbers are normalised by relu.

    Args:
        network: the network of the cfg.
        units: the file's layers by layer index.

    Returns:
        The cfg, and notes for the user.
    """
    config = network.config
    indices = [index for index, unit in units if RATIOS in unit.parts]
    for index in indices:
        spec = network.layers[index].spec
        if isinstance(spec, Shortcut) and spec.normalization != "relu":
            config = config.with_section(index + 1, {"weights_normalization": "relu"})
    if not indices:
        return config, []
    named = ", ".join(map(str, indices[:6])) + (" ..." if len(indices) > 6 else "")
    note = (
        f"the program weights the sources of [shortcut] {named} by sigmoids times 2/n: computed "
        "into Darknet's weights, which give the same factors"
    )
    if config is not network.config:
        note += " with weights_normalization=relu, as the cfg says now"
    return config, [note]
