"""LossReport: what a head costs, in parts."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossReport:
    """What a batch costs, all scalars; sums over the batch, as in C.

    Attributes:
        total: what to back-propagate, the sum of the next four.
        box: cost of matched boxes.
        objectness: of objectness where a truth is matched.
        no_object: of objectness elsewhere.
        classes: of class scores.
        iou: mean IoU of matched predictions with their truths, 0 if there are none.
        recall: share of the truths matched by this head with a prediction above IoU 0.5.
    """

    total: Tensor
    box: Tensor
    objectness: Tensor
    no_object: Tensor
    classes: Tensor
    iou: Tensor
    recall: Tensor
