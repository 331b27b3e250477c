"""The loss of a model before training, which training should reach."""

import torch

from darkconv.augmentation.sampler import Draw
from darkconv.backends.torch import to_torch
from darkconv.core.model import Model
from darkconv.training.objective import QUALITIES, Costs, Objective
from darkconv.training.tasks import Task

BATCH = 8
PICTURES = 256
"""Largest number of pictures that are measured, evenly spread."""


@torch.no_grad()
def measure_costs(
    model: Model, task: Task, objective: Objective, device: torch.device
) -> dict[str, float]:
    """Measure the mean loss per picture of a model in evaluation mode, in parts.

    Args:
        model: model with the heads of the objective.
        task: task with the pictures, which are used without augmentation.
        objective: loss that is computed.
        device: device of the computation.

    Returns:
        The parts of the loss by name; `loss` is the total.
    """
    module = to_torch(model).to(device)
    pictures = task.pictures(augment=False)
    count = len(pictures)
    shown = min(count, PICTURES)
    draws = [Draw(i * count // shown, i) for i in range(shown)]
    sums: Costs = {}
    for start in range(0, shown, BATCH):
        x, truths = task.collate([pictures[draw] for draw in draws[start : start + BATCH]])
        x, truths = x.to(device), truths.to(device)
        values = module.select(x, objective.layers)
        for name, cost in objective.costs(values, x, truths, model.header.seen).items():
            part = cost * (len(x) if name in QUALITIES else 1)
            sums[name] = sums.get(name, 0.0) + part
    return {name: float(value) / shown for name, value in sums.items()}
