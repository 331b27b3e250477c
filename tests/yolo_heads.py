"""Heads, inputs and truths of the tests of [yolo] and [Gaussian_yolo] losses."""

import math

import torch

from darkconv.backends.torch.losses.gaussian import gaussian_loss
from darkconv.backends.torch.losses.overlap import shape_overlap
from darkconv.backends.torch.losses.registry import Setting
from darkconv.backends.torch.losses.yolo import yolo_loss
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import GaussianYolo, Yolo

INPUT = (64, 32)  # (width, height)
GRID = (4, 2)  # (columns, rows)
ANCHORS = (10.0, 8.0, 20.0, 14.0, 40.0, 26.0)
CLASSES = 3
LAYOUT = {"anchors": ANCHORS, "num": 3, "mask": (0, 1, 2), "classes": CLASSES}
TRUTHS = [[0, 0.30, 0.40, 0.30, 0.50], [2, 0.80, 0.70, 0.15, 0.20]]
PLACES = [(0, 1, slice(None), 0, 1), (0, 0, slice(None), 1, 3)]
"""Of TRUTHS: image, anchor, entries, row, column."""


def head(dialect=ALEXEYAB, **options):
    return Yolo.make(dialect, **{**LAYOUT, **options})


def gaussian(**options):
    return GaussianYolo.make(ALEXEYAB, **{**LAYOUT, **options})


def values(spec, *, images=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 3 * spec.anchor_entries, GRID[1], GRID[0])
    return torch.randn(shape, generator=generator, dtype=dtype)


def rows(*truths):
    return torch.tensor([truths or TRUTHS], dtype=torch.float64)


def loss(spec, x, truths=None, **setting):
    function = gaussian_loss if isinstance(spec, GaussianYolo) else yolo_loss
    return function(spec, x, rows() if truths is None else truths, Setting(INPUT, **setting))


def slope(spec, x, truths=None, **setting):
    """Derivative of the total, as (images, anchors, entries, rows, columns)."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(spec, x, truths, **setting).total, x)
    return found.unflatten(1, (3, spec.anchor_entries))


def perfect(spec, truths, *, certainty=14.0):
    """A head's input that says the truths (one per cell) with the anchor of the best shape."""
    first = spec.box_entries
    step = (first - 1) // 4
    x = torch.zeros(1, 3, spec.anchor_entries, GRID[1], GRID[0], dtype=torch.float64)
    x[:, :, first - 1 :] = -certainty
    if step == 2:
        x[:, :, 1:8:2] = -certainty
    for number, *box in truths:
        column, row = (int(v * n) for v, n in zip(box[:2], GRID, strict=True))
        size = torch.tensor(box[2:], dtype=x.dtype) * torch.tensor(INPUT)
        anchors = torch.tensor(ANCHORS, dtype=x.dtype).reshape(3, 2)
        best = int(shape_overlap("iou", anchors, size).argmax())
        entry = x[0, best, :, row, column]
        for i, cell in enumerate((column, row)):
            offset = box[i] * GRID[i] - cell
            share = (offset + (spec.scale_x_y - 1) / 2) / spec.scale_x_y
            entry[i * step] = math.log(share / (1 - share))
        entry[2 * step : 4 * step : step] = (size / anchors[best]).log()
        entry[first - 1] = entry[first + int(number)] = certainty
    return x.flatten(1, 2)
