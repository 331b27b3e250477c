"""Distillation: a network learns from another's outputs and feature maps, without labels.

The heads' part weighs every box by the teacher's objectness, so that background does not dominate,
and compares probabilities by cross entropy, as in Hinton, Vinyals, Dean (2015) and, for detectors,
Chen et al. (2017). Feature maps are compared where both networks have the same channels (FitNets,
Romero et al. 2015, without a regressor, since pruned channels are known): by the mean squared error
divided by the variance of the teacher's map.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch import DarknetModule, to_torch
from darkconv.core.model import Model
from darkconv.core.names import distinct_names, find_name
from darkconv.core.network import Layer
from darkconv.core.spec import HeadSpec
from darkconv.errors import PlanError
from darkconv.layers import head, norm
from darkconv.surgery.channels import Indices
from darkconv.surgery.correspondence import find_kept
from darkconv.training.device import Select
from darkconv.training.objective import Costs

POSITION_WEIGHT = 4.0
"""Weight of the centre's squared error in cells; that of log sizes has the weight 1."""
LOGIT_WEIGHT = 0.3
"""Weight of the raw entries' mean squared error, which acts where probabilities are flat."""
TINY = 1e-6


@dataclass(frozen=True)
class HeadPair:
    """A head of the student, with the teacher's channels of the same meaning.

    Attributes:
        student: head of the student.
        teacher: head of the teacher.
        rows: (channels of the student's head input,) index of each among those of the teacher's.
    """

    student: Layer
    teacher: Layer
    rows: Tensor


@dataclass(frozen=True)
class Features:
    """A layer of both networks, with the teacher's channels that the student has.

    Attributes:
        layer: index of the layer, from 0.
        channels: indices of the teacher's channels.
    """

    layer: int
    channels: Tensor


@dataclass(eq=False)
class TeacherObjective:
    """The distance of a student from its teacher; see the module.

    Attributes:
        student: model that is trained.
        teacher: model that it learns from.
        feature_weight: weight of the feature maps' part; 0 leaves it out.
        feature_layers: layers whose maps are compared; None for those of `shared_features`.
        select: how the teacher is run.
    """

    student: Model
    teacher: Model
    feature_weight: float = 1.0
    feature_layers: Collection[int] | None = None
    select: Select = DarknetModule.select
    pairs: list[HeadPair] = field(init=False)
    features: list[Features] = field(init=False)
    module: DarknetModule = field(init=False)

    def __post_init__(self) -> None:
        """Pair the heads by order, their classes by name, and the layers by their channels.

        Raises:
            PlanError: the heads do not fit, the teacher lacks a class, or it is not known which of
                the teacher's channels a layer has.
        """
        self.pairs = list(pair_heads(self.student, self.teacher))
        self.features = []
        if self.feature_weight:
            self.features = shared_features(self.student, self.teacher, self.feature_layers)
        self.module = to_torch(self.teacher)

    @property
    def layers(self) -> frozenset[int]:
        """Layers that the student's heads read, and layers whose maps are compared."""
        return frozenset(
            (*(p.student.sources[0] for p in self.pairs), *(f.layer for f in self.features))
        )

    def costs(self, values: Mapping[int, Tensor], x: Tensor, truths: Tensor, seen: int) -> Costs:
        """Compute the parts of the loss by name, and their weighted total.

        Args:
            values: student's values of `layers`, by layer index.
            x: (N, C, H, W) the batch, which the teacher is run on.
            truths: labels of the batch, which are not used.
            seen: number of pictures trained on before, which is not used.
        """
        target = self._teach(x)
        costs: Costs = {}
        for pair in self.pairs:
            own, wanted = values[pair.student.sources[0]], target[pair.teacher.sources[0]]
            parts = head_distance(pair.student, own, wanted[:, pair.rows.to(own.device)])
            for name, part in parts.items():
                costs[name] = costs.get(name, own.new_zeros(())) + part
        costs["loss"] = torch.stack(list(costs.values())).sum()
        if self.features:
            costs["features"] = len(x) * self._feature_distance(values, target)
            costs["loss"] = costs["loss"] + self.feature_weight * costs["features"]
        return costs

    @torch.no_grad()
    def _teach(self, x: Tensor) -> dict[int, Tensor]:
        if next(self.module.buffers(), x).device != x.device:
            self.module.to(x.device)
        wanted = {p.teacher.sources[0] for p in self.pairs} | {f.layer for f in self.features}
        return self.select(self.module, x, wanted)

    def _feature_distance(
        self, values: Mapping[int, Tensor], target: Mapping[int, Tensor]
    ) -> Tensor:
        """Compute the mean distance of the feature maps."""
        distances = []
        for one in self.features:
            wanted = target[one.layer][:, one.channels.to(target[one.layer].device)]
            spread = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().mean()
            distance = (values[one.layer] - wanted).square().mean()
            distances.append(distance / spread.clamp(min=TINY))
        return torch.stack(distances).mean()


def pair_heads(student: Model, teacher: Model) -> Iterator[HeadPair]:
    """Match the heads of student and teacher in their order.

    Args:
        student: model that is trained.
        teacher: model that it learns from.

    Yields:
        Pairs of heads.

    Raises:
        PlanError: the heads do not fit, or the teacher lacks a class.
    """
    own, others = student.network.heads, teacher.network.heads
    if [h.type for h in own] != [h.type for h in others] or not own:
        raise PlanError(
            f"{teacher.network.file}: is no teacher for {student.network.file}",
            expected=f"heads {', '.join(h.type for h in own) or '(it has none)'}",
            found=", ".join(h.type for h in others) or "none",
        )
    for a, b in zip(own, others, strict=True):
        keep = _same_classes(a, student, b, teacher)
        assert isinstance(b.spec, HeadSpec)
        rows = torch.from_numpy(b.spec.class_rows(b.in_shapes, keep))
        if len(rows) != a.in_shapes[0].size // max(a.in_shapes[0].h * a.in_shapes[0].w, 1):
            raise PlanError(
                f"{teacher.network.file}: layer {b.index} predicts other boxes than the student's",
                expected=f"{a.in_shapes[0]}",
                found=f"{b.in_shapes[0]}",
            )
        yield HeadPair(a, b, rows)


def _same_classes(a: Layer, student: Model, b: Layer, teacher: Model) -> list[int]:
    """Return the indices of the student's classes among the teacher's."""
    assert isinstance(a.spec, HeadSpec)
    assert isinstance(b.spec, HeadSpec)
    total = b.spec.num_classes(b.in_shapes)
    if not student.names and a.spec.num_classes(a.in_shapes) == total:
        return list(range(total))
    places = [find_name(teacher.names, name) for name in distinct_names(student.names)]
    missing = [name for name, place in zip(student.names, places, strict=True) if place is None]
    if missing or not student.names:
        raise PlanError(
            f"{teacher.network.file}: the teacher does not know {', '.join(missing) or 'names'}",
            expected="the student's class names",
            found=", ".join(teacher.names[:10]) or "no names",
            hint="cut or merge the teacher's classes alike with `darkconv reclass`",
        )
    return [place for place in places if place is not None]


def shared_features(
    student: Model, teacher: Model, layers: Collection[int] | None = None
) -> list[Features]:
    """Return the maps to compare: ends of blocks, without an activation behind them.

    Those are residual joins and linear convolutions; in networks without them, all convolutions.
    Layers that heads read are left out, since they are compared as heads.

    Args:
        student: model that is trained.
        teacher: model that it was made from.
        layers: indices of the layers to compare instead; None for this choice.

    Raises:
        PlanError: it is not known which of the teacher's channels one of `layers` has.
    """
    kept = _kept_maps(student, teacher)
    if layers is not None:
        strange = sorted(set(layers) - set(kept))
        if strange:
            raise PlanError(
                f"{student.network.file}: layer {strange[0]} cannot be compared with the teacher's",
                expected=f"some of {', '.join(map(str, sorted(kept)))}",
                found=", ".join(map(str, strange)),
            )
        return [Features(i, torch.from_numpy(kept[i])) for i in sorted(set(layers))]
    own = student.network.layers
    heads = {h.sources[0] for h in student.network.heads}
    joined = [i for i in kept if own[i].type == "shortcut" or _is_linear(own[i])]
    chosen = sorted(set(joined or kept) - heads)
    return [Features(i, torch.from_numpy(kept[i])) for i in chosen]


def _kept_maps(student: Model, teacher: Model) -> dict[int, Indices]:
    """Return the student's layers made of the teacher's channels, with these channels.

    They are convolutions, and residual joins of them.
    """
    kept = find_kept(student, teacher)
    for layer in student.network.layers:
        if layer.type == "shortcut" and layer.sources[0] in kept:
            own = kept[layer.sources[0]]
            if len(own) == layer.out_shape.c:
                kept[layer.index] = own
    return kept


def _is_linear(layer: Layer) -> bool:
    return getattr(layer.spec, "activation", "") == "linear"


def head_distance(layer: Layer, own: Tensor, wanted: Tensor) -> Costs:
    """Compute the distance of a head's input from the teacher's, in parts summed over the batch.

    Args:
        layer: the head.
        own: its input in the student, (N, C, H, W) or (N, values).
        wanted: its input in the teacher, of the same shape.
    """
    spec = layer.spec
    if isinstance(spec, head.AnchorHead):
        return _anchor_distance(spec, own, wanted)
    if isinstance(spec, norm.Softmax):
        return {"classes": _softmax_distance(own.flatten(1), wanted.flatten(1))}
    return {"logits": (own - wanted).square().sum()}


def _softmax_distance(own: Tensor, wanted: Tensor) -> Tensor:
    """Compute the Kullback-Leibler divergence along axis 1, summed."""
    target = torch.log_softmax(wanted, 1)
    return F.kl_div(torch.log_softmax(own, 1), target, reduction="sum", log_target=True)


def _anchor_distance(spec: head.AnchorHead, own: Tensor, wanted: Tensor) -> Costs:
    """Compute the distance for [yolo], [Gaussian_yolo] and [region]."""
    count = len(spec.anchor_indices)
    own, wanted = _by_anchor(own, count), _by_anchor(wanted, count)
    sizes, known = _size_entries(spec), spec.box_entries - 1
    squashed = [entry for entry in range(known) if entry not in sizes]
    raw = isinstance(spec, head.YoloHead) and not spec.squashes
    objects = _squash(wanted[:, :, known], raw).clamp(0, 1)
    weight = objects.unsqueeze(2)
    position = (_squash(own[:, :, squashed], raw) - _squash(wanted[:, :, squashed], raw)).square()
    size = (own[:, :, sizes] - wanted[:, :, sizes]).square()
    classes = own[:, :, known + 1 :], wanted[:, :, known + 1 :]
    return {
        "box": (weight * (POSITION_WEIGHT * position.sum(2, keepdim=True))).sum()
        + (weight * size).sum(),
        "objectness": _divergence(own[:, :, known], wanted[:, :, known], raw).sum(),
        "classes": _class_distance(spec, *classes, weight, raw),
        "logits": LOGIT_WEIGHT * len(own) * (own - wanted).square().mean(),
    }


def _by_anchor(x: Tensor, count: int) -> Tensor:
    """Return (N, anchors * entries, H, W) as float32 (N, anchors, entries, H, W)."""
    return x.float().reshape(len(x), count, -1, *x.shape[2:])


def _class_distance(
    spec: head.AnchorHead, own: Tensor, wanted: Tensor, weight: Tensor, raw: bool
) -> Tensor:
    if isinstance(spec, head.Region) and spec.softmax and not spec.tree:
        target = torch.log_softmax(wanted, 2)
        each = F.kl_div(torch.log_softmax(own, 2), target, reduction="none", log_target=True)
        return (weight * each).sum()
    return (weight * _divergence(own, wanted, raw)).sum()


def _size_entries(spec: head.AnchorHead) -> list[int]:
    """Return the entries of an anchor without a sigmoid: width and height."""
    if isinstance(spec, head.GaussianYolo):
        return [4, 6]
    if isinstance(spec, head.YoloHead) and spec.squashes_sizes:
        return []
    return list(range(2, spec.box_entries - 1))


def _squash(x: Tensor, raw: bool) -> Tensor:
    return x if raw else x.sigmoid()


def _divergence(own: Tensor, wanted: Tensor, raw: bool) -> Tensor:
    """Compute the divergence of Bernoulli distributions from logits.

    For raw probabilities it is half their squared error.
    """
    if raw:
        return (own - wanted).square() / 2
    target = wanted.sigmoid()
    cross = F.binary_cross_entropy_with_logits(own, target, reduction="none")
    return cross - F.binary_cross_entropy_with_logits(wanted, target, reduction="none")
