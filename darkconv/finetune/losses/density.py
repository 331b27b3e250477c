"""The density by which [Gaussian_yolo] judges its means and deviations."""

import math

import torch
from torch import Tensor

DEVIATION_OFFSET = 0.3
DENSITY_OFFSET = 1e-9
"""Added by Darknet to a deviation that it divides by, and to a density that it divides by."""
HIGHEST = 1 / (math.sqrt(2 * math.pi) * DEVIATION_OFFSET) + DENSITY_OFFSET


def log_density(errors: Tensor, deviations: Tensor) -> Tensor:
    """ln(exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3))), from errors already divided by s."""
    scale = (deviations + DEVIATION_OFFSET).log() + math.log(2 * math.pi) / 2
    return -errors.square() / 2 - scale


def surprise(errors: Tensor, deviations: Tensor) -> Tensor:
    """-ln(density + 1e-9), counted from its lowest, that of no error and no deviation."""
    found = log_density(errors, deviations)
    least = found.new_tensor(math.log(DENSITY_OFFSET))
    return math.log(HIGHEST) - torch.logaddexp(found, least)
