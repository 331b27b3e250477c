"""The density that [Gaussian_yolo] computes of its means and standard deviations."""

import math

import torch
from torch import Tensor

from darkconv.layers.loss_rules import DENSITY_OFFSET, DEVIATION_OFFSET, HIGHEST_DENSITY


def log_density(errors: Tensor, deviations: Tensor) -> Tensor:
    """Compute ln(exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3))), Darknet's density.

    Args:
        errors: e = (target - mean) / s, of any shape.
        deviations: standard deviations s, of the same shape.
    """
    scale = (deviations + DEVIATION_OFFSET).log() + math.log(2 * math.pi) / 2
    return -errors.square() / 2 - scale


def surprise(errors: Tensor, deviations: Tensor) -> Tensor:
    """Compute -ln(density + 1e-9), minus its lowest value, at no error and no deviation.

    Args:
        errors: (target - mean) / s, of any shape.
        deviations: standard deviations s, of the same shape.
    """
    found = log_density(errors, deviations)
    least = found.new_tensor(math.log(DENSITY_OFFSET))
    return math.log(HIGHEST_DENSITY) - torch.logaddexp(found, least)
