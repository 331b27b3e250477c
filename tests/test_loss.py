"""The loss of a [yolo] head: least at the truth, with true derivatives, finite everywhere."""

import dataclasses
import math

import pytest

torch = pytest.importorskip("torch")

from darkconv.core.dialect import ALEXEYAB, PJREDDIE  # noqa: E402
from darkconv.errors import OptionError  # noqa: E402
from darkconv.finetune.losses.overlap import iou, overlap, shape_overlap  # noqa: E402
from darkconv.finetune.losses.yolo import yolo_loss  # noqa: E402
from darkconv.layers.head import Yolo  # noqa: E402

INPUT = (64, 32)  # (width, height)
GRID = (4, 2)  # (columns, rows)
ANCHORS = (10.0, 8.0, 20.0, 14.0, 40.0, 26.0)
CLASSES = 3
ENTRIES = 5 + CLASSES
IOU_LOSSES = ("iou", "giou", "diou", "ciou")
TRUTHS = [[0, 0.30, 0.40, 0.30, 0.50], [2, 0.80, 0.70, 0.15, 0.20]]


def head(dialect=ALEXEYAB, **options):
    layout = {"anchors": ANCHORS, "num": 3, "mask": (0, 1, 2), "classes": CLASSES}
    return Yolo.make(dialect, **{**layout, **options})


SPECS = {
    "pjreddie": head(PJREDDIE),
    "mse": head(),
    "mse-stretched": head(scale_x_y=1.2),
    "new-coords": head(new_coords=True, scale_x_y=2.0),
    "weights": head(iou_normalizer=0.3, obj_normalizer=0.4, delta_normalizer=0.5),
    "counters": head(counters_per_class=(10, 40, 5), cls_normalizer=0.5),
    "smooth-labels": head(label_smooth_eps=0.1),
    "more-anchors": head(iou_thresh=0.2, iou_loss="giou"),
    "truth-thresh": head(PJREDDIE, truth_thresh=0.1, ignore_thresh=0.05),
    **{kind: head(iou_loss=kind, scale_x_y=1.05) for kind in IOU_LOSSES},
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def values(*, images=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (images, 3 * ENTRIES, GRID[1], GRID[0])
    return torch.randn(shape, generator=generator, dtype=dtype)


def rows(*truths):
    return torch.tensor([truths or TRUTHS], dtype=torch.float64)


def loss(spec, x, truths=None):
    return yolo_loss(spec, x, rows() if truths is None else truths, input_size=INPUT)


def slope(spec, x, truths=None):
    """Derivative of the total, as (images, anchors, entries, rows, columns)."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(spec, x, truths).total, x)
    return found.unflatten(1, (3, ENTRIES))


def perfect(spec, truths, *, certainty=14.0):
    """A head's input that says the truths (one per cell) with the anchor of the best shape."""
    x = torch.zeros(1, 3, ENTRIES, GRID[1], GRID[0], dtype=torch.float64)
    x[:, :, 4:] = -certainty
    for number, *box in truths:
        column, row = (int(v * n) for v, n in zip(box[:2], GRID, strict=True))
        size = torch.tensor([v * n for v, n in zip(box[2:], INPUT, strict=True)])
        anchors = torch.tensor(ANCHORS).reshape(3, 2)
        best = int(shape_overlap("iou", anchors, size).argmax())
        entry = x[0, best, :, row, column]
        for i, cell in enumerate((column, row)):
            offset = box[i] * GRID[i] - cell
            share = (offset + (spec.scale_x_y - 1) / 2) / spec.scale_x_y
            entry[i] = math.log(share / (1 - share))
        entry[2:4] = (size / anchors[best]).log()
        entry[4] = entry[5 + int(number)] = certainty
    return x.flatten(1, 2)


@pytest.mark.parametrize("name", ["pjreddie", "mse-stretched", *IOU_LOSSES])
def test_a_perfect_prediction_costs_next_to_nothing(name):
    x = perfect(SPECS[name], TRUTHS)
    found = loss(SPECS[name], x)
    assert 0 <= found.total < 1e-3
    assert found.iou == pytest.approx(1.0, abs=1e-6)
    assert found.recall == 1


@each_spec
def test_the_derivative_is_that_of_the_number(spec):
    x = (values() * 0.7).requires_grad_()
    if spec.new_coords:
        x = x.detach().sigmoid().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(spec, x).total, x, atol=1e-6, fast_mode=True)


@each_spec
def test_a_batch_costs_what_its_images_cost(spec):
    x = values(images=3)
    truths = torch.full((3, 2, 5), -1.0, dtype=torch.float64)
    truths[0], truths[2, :1] = rows()[0], rows()[0, 1:]
    whole = loss(spec, x, truths)
    parts = [loss(spec, x[i : i + 1], truths[i : i + 1]) for i in range(3)]
    for name in ("total", "box", "objectness", "no_object", "classes"):
        alone = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), alone)


@each_spec
def test_parts_add_up(spec):
    found = loss(spec, values())
    whole = found.box + found.objectness + found.no_object + found.classes
    torch.testing.assert_close(found.total, whole)
    assert found.box > 0
    assert found.classes > 0


@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_truths_only_the_background_costs(count):
    found = loss(SPECS["ciou"], values(), torch.full((1, count, 5), -1.0))
    assert found.total == found.no_object > 0
    assert (found.iou, found.recall) == (0, 0)


def test_rows_that_are_no_truth_change_nothing():
    x, spec = values(), SPECS["mse"]
    odd = [[-1] * 5, [CLASSES, 0.5, 0.5, 0.2, 0.2], [1, 0.5, 0.5, 0.0, 0.2]]
    assert loss(spec, x, rows(odd[0], *TRUTHS, *odd[1:])).total == loss(spec, x).total


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=str)
def test_a_box_good_enough_is_spared(dialect):
    spec = head(dialect, ignore_thresh=0.5)
    truth = [0, 0.30, 0.40, 0.30, 0.50]
    x = values() * 0.1
    entries = x.unflatten(1, (3, ENTRIES))
    entries[0, 2, :, 0, 1] = perfect(spec, [truth]).unflatten(1, (3, ENTRIES))[0, 1, :, 0, 1]
    entries[0, 2, 2:4, 0, 1] -= torch.tensor([math.log(2), math.log(26 / 14)])  # other anchor
    found = slope(spec, x, rows(truth))
    assert (found[0, 2, :, 0, 1] == 0).all()
    assert found[0, 1, 4, 0, 1] < 0  # the place of the truth's own anchor is trained up
    assert found[0, 0, 4, 0, 1] > 0  # and the third one down


def test_alexeyab_spares_only_boxes_with_a_likely_class():
    spec = head(ignore_thresh=0.0)  # every box overlaps the truth, which is the whole picture
    x = values().unflatten(1, (3, ENTRIES))
    x[:, :, 5:] = -3.0
    x[:, 0, 5:] = 0.0
    found = slope(spec, x.flatten(1, 2), rows([0, 0.5, 0.5, 1.0, 1.0]))
    assert (found[:, 0] == 0).all()
    assert (found[:, 1, 4] > 0).all()


@pytest.mark.parametrize("name", ["pjreddie", "mse", "ciou"])
def test_of_two_truths_at_a_place_the_last_has_the_box_and_both_their_classes(name):
    spec, x = SPECS[name], values()
    first, last = [0, 0.30, 0.40, 0.30, 0.50], [2, 0.28, 0.35, 0.31, 0.45]
    both, alone = slope(spec, x, rows(first, last)), slope(spec, x, rows(last))
    torch.testing.assert_close(both[0, 1, :4, 0, 1], alone[0, 1, :4, 0, 1])
    assert (both[0, 1, [5, 7], 0, 1] < 0).all()
    assert both[0, 1, 6, 0, 1] > 0


@each_spec
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_numbers(spec, size):
    x = (values(dtype=torch.float32) * size).requires_grad_()
    found = loss(spec, x, rows().float())
    found.total.backward()
    assert all(torch.isfinite(value) for value in vars(found).values())
    assert torch.isfinite(x.grad).all()


def test_max_delta_limits_the_slope_of_the_box_alone():
    x, spec = values(), head(iou_loss="giou")
    free = slope(spec, x)
    held = slope(dataclasses.replace(spec, max_delta=0.03), x)
    torch.testing.assert_close(held[:, :, :4], free[:, :, :4].clamp(-0.03, 0.03))
    torch.testing.assert_close(held[:, :, 4:], free[:, :, 4:])
    assert (free[:, :, :4].abs() > 0.03).any()


def test_max_delta_does_not_change_the_number():
    x, spec = values().requires_grad_(), head(iou_loss="giou")
    limited = dataclasses.replace(spec, max_delta=0.03)
    torch.testing.assert_close(loss(limited, x).total, loss(spec, x).total)
    with torch.no_grad():
        torch.testing.assert_close(loss(limited, x).total, loss(spec, x).total)


def test_a_rare_class_weighs_more():
    x, spec = values(), head(counters_per_class=(10, 40, 5))
    truth = [2, 0.30, 0.40, 0.30, 0.50]
    weighted, plain = slope(spec, x, rows(truth)), slope(head(), x, rows(truth))
    place = (0, 1, slice(None), 0, 1)
    wanted = plain[place].clone()
    wanted[[0, 1, 2, 3, 4, 7]] *= 8
    torch.testing.assert_close(weighted[place], wanted)


def test_counters_of_another_length_are_refused():
    with pytest.raises(OptionError, match=r"counters_per_class: expected 3 numbers.*found 2"):
        loss(head(counters_per_class=(1, 2)), values())


def test_smooth_objectness_aims_at_the_overlap():
    spec = head(objectness_smooth=True, ignore_thresh=0.0)
    x = values() * 0.1
    entries = x.unflatten(1, (3, ENTRIES))
    found = slope(spec, x)[0, 1, 4, 0, 1]
    raw = entries[0, 1, :, 0, 1]
    centre = (raw[:2].sigmoid() + torch.tensor([1.0, 0.0])) / torch.tensor(GRID)
    size = raw[2:4].exp() * torch.tensor([20 / 64, 14 / 32])
    wanted = iou(torch.cat([centre, size]), rows()[0, 0, 1:])
    torch.testing.assert_close(found, raw[4].sigmoid() - wanted)


def test_low_precision_is_computed_in_float32():
    x = values(dtype=torch.bfloat16).requires_grad_()
    found = loss(SPECS["ciou"], x, rows().float())
    found.total.backward()
    assert found.total.dtype == torch.float32
    assert torch.isfinite(x.grad).all()


def test_overlaps_of_boxes_side_by_side():
    a = torch.tensor([0.0, 0.0, 2.0, 2.0])
    b = torch.tensor([1.0, 0.0, 2.0, 2.0])  # shares a third; the enclosure is 3 x 2
    assert iou(a, b) == pytest.approx(1 / 3)
    assert overlap("giou", a, b) == pytest.approx(1 / 3)
    assert overlap("diou", a, b) == pytest.approx(1 / 3 - 1 / 13)
    assert overlap("ciou", a, b) == pytest.approx(1 / 3 - 1 / 13)


def test_overlaps_of_boxes_apart_and_unlike():
    a = torch.tensor([0.0, 0.0, 2.0, 2.0])
    b = torch.tensor([4.0, 0.0, 2.0, 1.0])  # the enclosure is 6 x 2
    assert iou(a, b) == 0
    assert overlap("giou", a, b) == pytest.approx(-0.5)
    diou = -16 / 40
    assert overlap("diou", a, b) == pytest.approx(diou)
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
    assert overlap("ciou", a, b) == pytest.approx(diou - v * v / (1 + v), abs=1e-5)
