"""The changes that an operation made to a model: the changed layers and the costs."""

from typing import Any

from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.darknet.weights import weights_size
from darkconv.surgery.plan import PrunePlan


def changed_layers(before: Model, after: Model) -> list[tuple[Layer, Layer]]:
    """Return the layers with arrays or costs whose channels or inputs changed.

    Args:
        before: the original model.
        after: the model made from it, with the same layers.

    Returns:
        Pairs of the layer before and after.
    """
    pairs = zip(before.network.layers, after.network.layers, strict=True)
    return [
        (old, new)
        for old, new in pairs
        if (old.slots or old.macs)
        and (old.out_shape, old.in_shapes) != (new.out_shape, new.in_shapes)
    ]


def total_costs(model: Model) -> dict[str, int]:
    """Return parameters, multiply-accumulate operations per picture, and bytes of the weights file.

    Args:
        model: the model to measure.
    """
    network = model.network
    size = weights_size(model)
    return {"parameters": network.parameters, "macs": network.macs, "bytes": size}


def pruning_dict(before: Model, after: Model, plan: PrunePlan) -> dict[str, Any]:
    """Return a plan and its effects as data for programs; pairs hold values before and after.

    Args:
        before: the original model.
        after: the pruned model.
        plan: the plan that was applied.
    """
    layers = [
        {
            "layer": old.index,
            "type": old.type,
            "channels": [old.out_shape.c, new.out_shape.c],
            "parameters": [old.parameters, new.parameters],
            "macs": [old.macs, new.macs],
        }
        for old, new in changed_layers(before, after)
    ]
    return {
        "before": total_costs(before),
        "after": total_costs(after),
        "layers": layers,
        "plan": plan.to_dict(),
    }
