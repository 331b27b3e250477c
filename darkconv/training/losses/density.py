"""The density by which [Gaussian_yolo] judges its means and deviations."""

import math

import torch
from torch import Tensor

from darkconv.layers.loss_rules import DENSITY_OFFSET, DEVIATION_OFFSET, HIGHEST_DENSITY


def log_density(errors: Tensor, deviations: Tensor) -> Tensor:
    """ln(exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3))), from errors already divided by s."""
    scale = (deviations + DEVIATION_OFFSET).log() + math.log(2 * math.pi) / 2
    return -errors.square() / 2 - scale


def surprise(errors: Tensor, deviations: Tensor) -> Tensor:
    """-ln(density + 1e-9), counted from its lowest, that of no error and no deviation."""
    found = log_density(errors, deviations)
    least = found.new_tensor(math.log(DENSITY_OFFSET))
    return math.log(HIGHEST_DENSITY) - torch.logaddexp(found, least)
