"""Builders of the heads yolo, Gaussian_yolo, region, detection and iseg, activated as in C."""

import torch
from torch import Tensor, nn

from darkconv.backends.torch.activation import logistic
from darkconv.backends.torch.norm import tree_softmax
from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.layers import head, norm


def stretch(x: Tensor, scale: float) -> Tensor:
    """Apply scale_x_y: widen the interval 0..1 about its middle.

    Args:
        x: tensor of any shape, with values in 0..1.
        scale: factor, 1 for none.
    """
    return x if scale == 1 else x * scale - 0.5 * (scale - 1)


class Yolo(nn.Module):
    """YOLOv3 head: sigmoid on all entries but w and h, in yolor on these too; x, y stretched.

    Args:
        spec: options of the [yolo] layer.
    """

    def __init__(self, spec: head.Yolo) -> None:
        super().__init__()
        self.anchors = len(spec.mask)
        self.scale = spec.scale_x_y
        self.squashes = spec.squashes
        self.squashes_sizes = spec.squashes_sizes

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated (N, anchors * (5 + classes), H, W), in the shape of the input."""
        if not self.squashes and self.scale == 1:
            return x
        entries = x.unflatten(1, (self.anchors, -1))
        centre, size, rest = entries[:, :, :2], entries[:, :, 2:4], entries[:, :, 4:]
        if self.squashes:
            centre, rest = logistic(centre), logistic(rest)
            size = logistic(size) if self.squashes_sizes else size
        return torch.cat([stretch(centre, self.scale), size, rest], 2).flatten(1, 2)


@BUILDERS.register(head.Yolo)
def build_yolo(layer: Layer, _: Network) -> nn.Module:
    """Build a YOLOv3 head.

    Args:
        layer: [yolo] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, head.Yolo)
    return Yolo(layer.spec)


class GaussianYolo(nn.Module):
    """Gaussian YOLOv3 head: sigmoid on all but the means of w and h; those of x, y stretched.

    Args:
        spec: options of the [Gaussian_yolo] layer.
    """

    def __init__(self, spec: head.GaussianYolo) -> None:
        super().__init__()
        self.anchors = len(spec.mask)
        self.scale = spec.scale_x_y

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated (N, anchors * (9 + classes), H, W), in the shape of the input."""
        entries = x.unflatten(1, (self.anchors, -1))
        parts = list(entries.split([1] * 8 + [entries.shape[2] - 8], 2))
        for place, part in enumerate(parts):
            if place not in (4, 6):
                squashed = logistic(part)
                parts[place] = stretch(squashed, self.scale) if place in (0, 2) else squashed
        return torch.cat(parts, 2).flatten(1, 2)


@BUILDERS.register(head.GaussianYolo)
def build_gaussian_yolo(layer: Layer, _: Network) -> nn.Module:
    """Build a Gaussian YOLOv3 head, whose boxes have uncertainties.

    Args:
        layer: [Gaussian_yolo] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, head.GaussianYolo)
    return GaussianYolo(layer.spec)


class Region(nn.Module):
    """YOLOv2 head; see `darkconv.layers.head.Region` for the dialects.

    Args:
        spec: options of the [region] layer.
        tree: class tree, whose groups have a softmax each; None for no tree.
    """

    def __init__(self, spec: head.Region, tree: Tree | None) -> None:
        super().__init__()
        self.spec = spec
        self.tree = tree

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated (N, anchors * (coords + 1 + kept classes), H, W)."""
        entries = x.unflatten(1, (self.spec.num, -1))
        coords, objectness, classes = entries.split([self.spec.coords, 1, self.spec.classes], 2)
        if self.spec.dialect.region_is_cell_major:
            parts = [coords, logistic(objectness), self._classes(classes, classes)]
            cells = self._left(parts).permute(0, 3, 4, 1, 2)
            return cells.reshape(x.shape[0], -1, *x.shape[2:])
        box = torch.cat([logistic(coords[:, :, :2]), coords[:, :, 2:]], 2)
        if self.spec.background and self.spec.softmax and not self.tree:
            scores = torch.softmax(entries[:, :, self.spec.coords :], 2)
            return self._left([box, scores]).flatten(1, 2)
        known = objectness if self.spec.background else logistic(objectness)
        return self._left([box, known, self._classes(classes, logistic(classes))]).flatten(1, 2)

    def _left(self, parts: list[Tensor]) -> Tensor:
        """Join entries to (N, anchors, entries, H, W), less those that `keep_classes` drops."""
        entries = torch.cat(parts, 2)
        return entries[:, :, self.spec.kept_entries] if self.spec.keep_classes else entries

    def _classes(self, classes: Tensor, otherwise: Tensor) -> Tensor:
        if self.tree:
            return tree_softmax(classes, self.tree, dim=2)
        return torch.softmax(classes, 2) if self.spec.softmax else otherwise


@BUILDERS.register(head.Region)
def build_region(layer: Layer, network: Network) -> nn.Module:
    """Build a YOLOv2 head.

    Args:
        layer: [region] layer with its options and input shapes.
        network: its network, whose class tree files are known.

    Raises:
        GraphError: the file of its class tree was not found, or has more classes.
    """
    assert isinstance(layer.spec, head.Region)
    return Region(layer.spec, norm.required_tree(layer, network, layer.spec.classes))


class Detection(nn.Module):
    """YOLOv1 head: values as they are, or a softmax over the classes of each cell.

    Args:
        spec: options of the [detection] layer.
    """

    def __init__(self, spec: head.Detection) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated values (N, values) of an input (N, ...)."""
        flat = x.flatten(1)
        if not self.spec.has_softmax:
            return flat
        scores, rest = flat.tensor_split([self.spec.cells * self.spec.classes], 1)
        cells = scores.unflatten(1, (self.spec.cells, self.spec.classes))
        return torch.cat([torch.softmax(cells, 2).flatten(1), rest], 1)


@BUILDERS.register(head.Detection)
def build_detection(layer: Layer, _: Network) -> nn.Module:
    """Build a YOLOv1 head.

    Args:
        layer: [detection] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, head.Detection)
    return Detection(layer.spec)


class Iseg(nn.Module):
    """Instance segmentation head: a sigmoid on the class channels.

    Args:
        classes: number of class channels, which come first.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Return the activated (N, C, H, W), in the shape of the input."""
        return torch.cat([logistic(x[:, : self.classes]), x[:, self.classes :]], 1)


@BUILDERS.register(head.Iseg)
def build_iseg(layer: Layer, _: Network) -> nn.Module:
    """Build an instance segmentation head.

    Args:
        layer: [iseg] layer with its options and input shapes.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, head.Iseg)
    return Iseg(layer.spec.classes)
