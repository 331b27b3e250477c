"""The rule "darknet" of [yolo] and [Gaussian_yolo] against truth-by-truth loops.

Crowded places and options together, which no file of golden/loss has.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses.darknet_overlap import overlap_gradient  # noqa: E402
from darkconv.core.dialect import PJREDDIE  # noqa: E402
from yolo_heads import CLASSES, GRID, INPUT, gaussian, head, loss, rows, slope, values  # noqa: E402
from yolo_walk import pull, walk  # noqa: E402

SOFT = {"label_smooth_eps": 0.1, "obj_normalizer": 0.4, "iou_normalizer": 0.3, "scale_x_y": 1.2}
EAGER = {"ignore_thresh": 0.1, "truth_thresh": 0.25}
RARE = {"counters_per_class": (10, 40, 5), "cls_normalizer": 0.5, "max_delta": 3.0}
SPECS = {
    "pjreddie": head(PJREDDIE),
    "pjreddie-eager": head(PJREDDIE, **EAGER),
    "mse": head(**SOFT),
    "mse-eager": head(**EAGER, **RARE),
    "mse-focal": head(focal_loss=True, iou_thresh=0.2, label_smooth_eps=0.1, **RARE, **EAGER),
    "mse-smooth": head(objectness_smooth=True, **EAGER, **SOFT),
    "iou": head(iou_loss="iou", iou_thresh=0.2, **SOFT),
    "giou-eager": head(iou_loss="giou", iou_thresh=0.2, **EAGER, **RARE),
    "diou": head(iou_loss="diou", max_delta=0.2),
    "ciou-smooth": head(iou_loss="ciou", objectness_smooth=True, iou_thresh=0.1, **EAGER, **RARE),
    "new-coords": head(new_coords=True, scale_x_y=2.0, **EAGER),
    "new-coords-ciou": head(new_coords=True, scale_x_y=2.0, iou_loss="ciou", iou_thresh=0.2),
    "gaussian": gaussian(uc_normalizer=0.3, **SOFT),
    "gaussian-eager": gaussian(iou_thresh=0.2, **EAGER, **RARE),
    "gaussian-smooth": gaussian(objectness_smooth=True, **EAGER, **SOFT, **RARE),
    "gaussian-left-top": gaussian(yolo_point="left_top", iou_loss="giou", **SOFT),
    "gaussian-right-bottom": gaussian(yolo_point="right_bottom", iou_loss="ciou", iou_thresh=0.2),
    "gaussian-diou": gaussian(iou_loss="diou", focal_loss=True, max_delta=0.2),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
each_seed = pytest.mark.parametrize("seed", range(3))


def crowd(seed):
    """Truths of like shape in few cells, rows that are none, and one behind the list's end."""
    stream = np.random.default_rng(seed)
    classes = stream.integers(CLASSES, size=15)
    centres = stream.choice([0.3, 0.8], size=(15, 2)) + stream.uniform(-0.04, 0.04, (15, 2))
    sizes = stream.choice([[0.3, 0.5], [0.15, 0.2]], size=15) * stream.uniform(0.8, 1.2, (15, 2))
    truths = np.column_stack([classes, centres, sizes])
    truths[2, 0], truths[5, 0], truths[13, 1] = -1, CLASSES, 0
    return truths


def given(spec, seed):
    x = values(spec, seed=seed) * 0.7
    return x.sigmoid() if getattr(spec, "new_coords", False) else x


def settled(spec, seed):
    """Inputs of which some scores and objectness are exactly 0, others exactly 1."""
    x = given(spec, seed).unflatten(1, (3, -1))
    none, full = (0.0, 1.0) if getattr(spec, "new_coords", False) else (-1000.0, 1000.0)
    x[:, :, spec.box_entries, :, 1::2] = none
    x[:, 0, spec.box_entries - 1], x[:, 1, spec.box_entries - 1] = none, full
    return x.flatten(1, 2)


@pytest.mark.parametrize("make", [given, settled])
@each_seed
@each_spec
def test_deltas_are_those_of_the_loops(spec, seed, make):
    x, truths = make(spec, seed), crowd(seed)
    entries = np.moveaxis(x.reshape(3, -1, *GRID[::-1]).numpy(), 1, -1)
    expected = np.moveaxis(walk(spec, entries, truths, INPUT), -1, 1)
    found = -slope(spec, x, torch.from_numpy(truths)[None], rule="darknet")[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_gradients_of_overlaps_are_those_of_the_loops(kind):
    stream = np.random.default_rng(0)
    near, far = stream.uniform(0.4, 0.6, (2, 50, 2)), stream.uniform(0, 1, (2, 50, 2))
    sizes = stream.uniform(0.05, 0.4, (2, 100, 2))
    predicted, truths = np.concatenate([np.concatenate([near, far], 1), sizes], 2)
    expected = [pull(kind, p, t) for p, t in zip(predicted, truths, strict=True)]
    found = overlap_gradient(kind, torch.from_numpy(predicted), torch.from_numpy(truths))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_a_size_of_0_counts_as_1():
    predicted = torch.tensor([[0.5, 0.5, 0.0, 0.3], [0.5, 0.5, 1.0, 0.3]])
    truths = torch.tensor([[0.4, 0.5, 0.2, 0.2]]).repeat(2, 1)
    first, second = overlap_gradient("ciou", predicted, truths)
    assert (first == second).all()


@each_seed
@each_spec
def test_parts_add_up(spec, seed):
    found = loss(spec, given(spec, seed), torch.from_numpy(crowd(seed))[None], rule="darknet")
    whole = found.box + found.objectness + found.no_object + found.classes
    torch.testing.assert_close(found.total, whole)


@each_spec
def test_without_limit_or_details_the_cost_is_the_sum_of_squares(spec):
    if getattr(spec, "show_details", False) and spec.iou_loss != "mse":
        pytest.skip("the cost counts overlaps instead")
    x = given(spec, 0)
    total = loss(spec, x, rule="darknet").total
    torch.testing.assert_close(total, slope(spec, x, rule="darknet").square().sum())


def test_rows_beyond_max_are_not_read():
    spec = head(max=1)
    x = values(spec)
    both, first = rows(), rows()[:, :1]
    assert loss(spec, x, both, rule="darknet").total == loss(spec, x, first, rule="darknet").total
    assert loss(spec, x, both).total != loss(spec, x, first).total


@each_spec
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_derivatives(spec, size):
    x = values(spec, dtype=torch.float32) * size
    assert torch.isfinite(slope(spec, x, rows().float(), rule="darknet")).all()


@each_spec
def test_a_batch_has_the_deltas_of_its_images(spec):
    x = torch.cat([given(spec, seed) for seed in range(3)])
    truths = torch.from_numpy(np.stack([crowd(seed) for seed in range(3)]))
    whole = slope(spec, x, truths, rule="darknet")
    for i in range(3):
        alone = slope(spec, x[i : i + 1], truths[i : i + 1], rule="darknet")
        torch.testing.assert_close(whole[i : i + 1], alone)
