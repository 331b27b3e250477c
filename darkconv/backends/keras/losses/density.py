"""The density by which [Gaussian_yolo] judges its means and deviations."""

import math

from keras import ops

from darkconv.backends.keras.scope import Tensor
from darkconv.layers.loss_rules import DENSITY_OFFSET, DEVIATION_OFFSET, HIGHEST_DENSITY


def log_density(errors: Tensor, deviations: Tensor) -> Tensor:
    """ln(exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3))), from errors already divided by s."""
    scale = ops.log(deviations + DEVIATION_OFFSET) + math.log(2 * math.pi) / 2
    return -ops.square(errors) / 2 - scale


def surprise(errors: Tensor, deviations: Tensor) -> Tensor:
    """-ln(density + 1e-9), counted from its lowest, that of no error and no deviation."""
    found = log_density(errors, deviations)
    # ln(e^a + e^b), by a function whose derivative every backend has at every value
    above = ops.softplus(found - math.log(DENSITY_OFFSET))
    return math.log(HIGHEST_DENSITY) - math.log(DENSITY_OFFSET) - above
