"""LossReport: the loss of a head, in parts."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossReport:
    """The loss of a batch; all are scalars, and losses are sums over the batch, as in C.

    Attributes:
        total: the number to back-propagate, the sum of the next four.
        box: loss of the boxes of assigned places.
        objectness: loss of objectness at assigned places.
        no_object: loss of objectness at the other places.
        classes: loss of class scores.
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
