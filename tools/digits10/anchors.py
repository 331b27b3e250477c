"""Anchors from box sizes: k-means with 1 - IoU of shapes as distance."""

import numpy as np

from digits10.background import Array


def cluster_sizes(sizes: Array, count: int) -> Array:
    """Mean sizes (count, 2) of the clusters, small ones first.

    Args:
        sizes: (n, 2) width and height.
        count: number of clusters; they start at quantiles of the area.
    """
    order = np.argsort(sizes.prod(1))
    means = sizes[order[(np.arange(count) * 2 + 1) * len(sizes) // (2 * count)]]
    for _ in range(100):
        nearest = _shape_iou(sizes, means).argmax(1)
        moved = np.stack([sizes[nearest == k].mean(0) for k in range(count)])
        if np.allclose(moved, means):
            break
        means = moved
    return means[np.argsort(means.prod(1))]


def _shape_iou(sizes: Array, means: Array) -> Array:
    shared = np.minimum(sizes[:, None], means).prod(2)
    return shared / (sizes.prod(1)[:, None] + means.prod(1) - shared)
