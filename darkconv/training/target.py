"""What a model's predictions cost before training: the figure to reach."""

import torch

from darkconv.backends.torch import to_torch
from darkconv.core.model import Model
from darkconv.training.objective import QUALITIES, Costs, Objective
from darkconv.training.order import Draw
from darkconv.training.tasks import Task

BATCH = 8
PICTURES = 256
"""Most pictures that are looked at, evenly spread."""


@torch.no_grad()
def measure_costs(
    model: Model, task: Task, objective: Objective, device: torch.device
) -> dict[str, float]:
    """Mean costs per picture of a model in evaluation mode, in parts; `loss` is the total.

    Args:
        model: with the heads that the objective is about.
        task: has the pictures, which are not changed at random.
        objective: what counts.
        device: to compute on.
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
