"""Fitting a head's input to truths by the loss, and the boxes that the head then predicts."""

import numpy as np
import torch

from darkconv.backends.torch import to_torch
from darkconv.backends.torch.losses import head_loss
from darkconv.backends.torch.losses.overlap import iou
from darkconv.detection.decode import decode
from networks import random_model

LATE = 1_000_000  # pictures seen: behind the warm-up of [region]


def fit(net, truths, *, start=None, steps=300, rate=0.1):
    """What should enter the head, a network's only layer, to predict truths (1, T, 5)."""
    (layer,) = net.layers
    x = torch.zeros(1, *net.input_shape) if start is None else start.clone()
    optimizer = torch.optim.Adam([x.requires_grad_()], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        head_loss(layer, x, truths, input_size=(64, 64), seen=LATE).total.backward()
        optimizer.step()
    return x.detach()


def predicted(net, x, *, threshold=0.5):
    """Boxes (n, 4) and scores (n, classes) of those above the threshold."""
    (output,) = to_torch(random_model(net))(x)
    found = decode(net, [output[0].numpy()], threshold=threshold)
    likely = (found.scores > threshold).any(1)
    return torch.from_numpy(found.boxes[likely]), found.scores[likely]


def assert_found(truths, boxes, scores):
    """Every truth has a box of its class, and every box a truth."""
    overlaps = iou(boxes.unsqueeze(1), truths[0, :, 1:].unsqueeze(0)).numpy()
    same = np.equal.outer(scores.argmax(1), truths[0, :, 0].numpy())
    good = (overlaps > 0.5) & same
    assert good.any(0).all()
    assert good.any(1).all()
