"""The losses of [yolo] and [Gaussian_yolo] by the default rule.

They are least at the truth, have true derivatives and are finite everywhere.
"""

import dataclasses
import math

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses.overlap import iou, overlap  # noqa: E402
from darkconv.core.dialect import ALEXEYAB, PJREDDIE  # noqa: E402
from darkconv.errors import OptionError  # noqa: E402
from yolo_heads import (  # noqa: E402
    CLASSES,
    GRID,
    PLACES,
    TRUTHS,
    gaussian,
    head,
    loss,
    perfect,
    rows,
    slope,
    values,
)

IOU_LOSSES = ("iou", "giou", "diou", "ciou")
SPECS = {
    "pjreddie": head(PJREDDIE),
    "mse": head(),
    "mse-stretched": head(scale_x_y=1.2),
    "new-coords": head(new_coords=True, scale_x_y=2.0),
    "new-coords-ciou": head(new_coords=True, scale_x_y=2.0, iou_loss="ciou"),
    "weights": head(iou_normalizer=0.3, obj_normalizer=0.4, delta_normalizer=0.5),
    "counters": head(counters_per_class=(10, 40, 5), cls_normalizer=0.5),
    "smooth-labels": head(label_smooth_eps=0.1),
    "more-anchors": head(iou_thresh=0.2, iou_loss="giou"),
    "truth-thresh": head(PJREDDIE, truth_thresh=0.1, ignore_thresh=0.05),
    **{kind: head(iou_loss=kind, scale_x_y=1.05) for kind in IOU_LOSSES},
    "gaussian": gaussian(uc_normalizer=0.75),
    "gaussian-stretched": gaussian(uc_normalizer=0.75, scale_x_y=1.2),
    "gaussian-left-top": gaussian(uc_normalizer=0.75, yolo_point="left_top"),
    "gaussian-weights": gaussian(iou_normalizer=0.3, uc_normalizer=0.3, obj_normalizer=0.4),
    "gaussian-counters": gaussian(uc_normalizer=0.75, counters_per_class=(10, 40, 5)),
    "gaussian-more-anchors": gaussian(uc_normalizer=0.75, iou_thresh=0.2, label_smooth_eps=0.1),
    "gaussian-truth-thresh": gaussian(uc_normalizer=0.75, truth_thresh=0.1, ignore_thresh=0.05),
    **{f"gaussian-{kind}": gaussian(iou_loss=kind, uc_normalizer=0) for kind in IOU_LOSSES},
    "gaussian-right-bottom-giou": gaussian(
        iou_loss="giou", uc_normalizer=0, yolo_point="right_bottom"
    ),
}
"""Costs whose derivative is a true one: of [Gaussian_yolo] the others are further down."""
OTHERS = {
    "smooth-objectness": head(objectness_smooth=True, ignore_thresh=0.1, truth_thresh=0.3),
    "focal": head(focal_loss=True),
    "max-delta": head(iou_loss="ciou", max_delta=0.05),
    "gaussian-uncertain": gaussian(uc_normalizer=2.0),
    "gaussian-uncertain-giou": gaussian(iou_loss="giou", uc_normalizer=2.0),
    "gaussian-max-delta": gaussian(max_delta=0.05),
    "gaussian-smooth-objectness": gaussian(
        objectness_smooth=True, ignore_thresh=0.1, truth_thresh=0.3
    ),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
every_spec = pytest.mark.parametrize("spec", (SPECS | OTHERS).values(), ids=(SPECS | OTHERS).keys())


@pytest.mark.parametrize(
    "name", ["pjreddie", "mse-stretched", *IOU_LOSSES, "gaussian-stretched", "gaussian-ciou"]
)
def test_a_perfect_prediction_costs_next_to_nothing(name):
    x = perfect(SPECS[name], TRUTHS)
    found = loss(SPECS[name], x)
    assert 0 <= found.total < 1e-3
    assert found.iou == pytest.approx(1.0, abs=1e-6)
    assert found.recall == 1


@each_spec
def test_the_derivative_is_that_of_the_number(spec):
    x = (values(spec) * 0.7).requires_grad_()
    if getattr(spec, "new_coords", False):
        x = x.detach().sigmoid().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(spec, x).total, x, atol=1e-6, fast_mode=True)


@every_spec
def test_a_batch_costs_what_its_images_cost(spec):
    x = values(spec, images=3)
    truths = torch.full((3, 2, 5), -1.0, dtype=torch.float64)
    truths[0], truths[2, :1] = rows()[0], rows()[0, 1:]
    whole = loss(spec, x, truths)
    parts = [loss(spec, x[i : i + 1], truths[i : i + 1]) for i in range(3)]
    for name in ("total", "box", "objectness", "no_object", "classes"):
        alone = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), alone)


@every_spec
def test_parts_add_up(spec):
    found = loss(spec, values(spec))
    whole = found.box + found.objectness + found.no_object + found.classes
    torch.testing.assert_close(found.total, whole)
    assert found.box > 0
    assert found.classes > 0


@every_spec
@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_truths_only_the_background_costs(spec, count):
    found = loss(spec, values(spec), torch.full((1, count, 5), -1.0))
    assert found.total == found.no_object > 0
    assert (found.iou, found.recall) == (0, 0)


def test_rows_that_are_no_truth_change_nothing():
    spec = SPECS["mse"]
    x = values(spec)
    odd = [[-1] * 5, [CLASSES, 0.5, 0.5, 0.2, 0.2], [1, 0.5, 0.5, 0.0, 0.2]]
    assert loss(spec, x, rows(odd[0], *TRUTHS, *odd[1:])).total == loss(spec, x).total


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=str)
def test_a_box_good_enough_is_spared(dialect):
    spec = head(dialect, ignore_thresh=0.5)
    truth = [0, 0.30, 0.40, 0.30, 0.50]
    x = values(spec) * 0.1
    entries = x.unflatten(1, (3, 8))
    entries[0, 2, :, 0, 1] = perfect(spec, [truth]).unflatten(1, (3, 8))[0, 1, :, 0, 1]
    entries[0, 2, 2:4, 0, 1] -= torch.tensor([math.log(2), math.log(26 / 14)])  # other anchor
    found = slope(spec, x, rows(truth))
    assert (found[0, 2, :, 0, 1] == 0).all()
    assert found[0, 1, 4, 0, 1] < 0  # the place of the truth's own anchor is trained up
    assert found[0, 0, 4, 0, 1] > 0  # and the third one down


def test_alexeyab_spares_only_boxes_with_a_likely_class():
    spec = head(ignore_thresh=0.0)  # every box overlaps the truth, which is the whole picture
    x = values(spec).unflatten(1, (3, 8))
    x[:, :, 5:] = -3.0
    x[:, 0, 5:] = 0.0
    found = slope(spec, x.flatten(1, 2), rows([0, 0.5, 0.5, 1.0, 1.0]))
    assert (found[:, 0] == 0).all()
    assert (found[:, 1, 4] > 0).all()


@pytest.mark.parametrize("name", ["pjreddie", "mse", "ciou"])
def test_of_two_truths_at_a_place_the_last_has_the_box_and_both_their_classes(name):
    spec = SPECS[name]
    x = values(spec)
    first, last = [0, 0.30, 0.40, 0.30, 0.50], [2, 0.28, 0.35, 0.31, 0.45]
    both, alone = slope(spec, x, rows(first, last)), slope(spec, x, rows(last))
    torch.testing.assert_close(both[0, 1, :4, 0, 1], alone[0, 1, :4, 0, 1])
    assert (both[0, 1, [5, 7], 0, 1] < 0).all()
    assert both[0, 1, 6, 0, 1] > 0


@every_spec
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_numbers(spec, size):
    x = (values(spec, dtype=torch.float32) * size).requires_grad_()
    found = loss(spec, x, rows().float())
    found.total.backward()
    assert all(torch.isfinite(value) for value in vars(found).values())
    assert torch.isfinite(x.grad).all()


def test_max_delta_limits_the_slope_of_the_box_alone():
    spec = head(iou_loss="giou")
    x = values(spec)
    free = slope(spec, x)
    held = slope(dataclasses.replace(spec, max_delta=0.03), x)
    torch.testing.assert_close(held[:, :, :4], free[:, :, :4].clamp(-0.03, 0.03))
    torch.testing.assert_close(held[:, :, 4:], free[:, :, 4:])
    assert (free[:, :, :4].abs() > 0.03).any()


def test_max_delta_does_not_change_the_number():
    spec = head(iou_loss="giou")
    x = values(spec).requires_grad_()
    limited = dataclasses.replace(spec, max_delta=0.03)
    torch.testing.assert_close(loss(limited, x).total, loss(spec, x).total)
    with torch.no_grad():
        torch.testing.assert_close(loss(limited, x).total, loss(spec, x).total)


def test_a_rare_class_weighs_more():
    spec = head(counters_per_class=(10, 40, 5))
    x = values(spec)
    truth = [2, 0.30, 0.40, 0.30, 0.50]
    weighted, plain = slope(spec, x, rows(truth)), slope(head(), x, rows(truth))
    place = (0, 1, slice(None), 0, 1)
    wanted = plain[place].clone()
    wanted[[0, 1, 2, 3, 4, 7]] *= 8
    torch.testing.assert_close(weighted[place], wanted)


def test_counters_of_another_length_are_refused():
    with pytest.raises(OptionError, match=r"counters_per_class: expected 3 numbers.*found 2"):
        loss(head(counters_per_class=(1, 2)), values(head()))


@pytest.mark.parametrize("rule", ["default", "darknet"])
@pytest.mark.parametrize("name", ["pjreddie", "counters", "giou", "gaussian", "gaussian-giou"])
def test_class_weights_act_on_all_that_a_class_costs(name, rule):
    spec = SPECS[name]
    x = values(spec)
    plain, weighted = slope(spec, x, rule=rule), slope(spec, x, rule=rule, class_weights=(1, 2, 5))
    deviations = slice(1, 8, 2) if name == "gaussian" and rule == "darknet" else slice(0, 0)
    expected = plain.clone()
    expected[PLACES[1]] *= 5
    expected[PLACES[1]][deviations] /= 5  # C has no multiplier there
    torch.testing.assert_close(weighted, expected)
    assert (plain[PLACES[1]] != 0).any()


@pytest.mark.parametrize("rule", ["default", "darknet"])
@pytest.mark.parametrize("spec", [head(), gaussian()], ids=["yolo", "gaussian"])
def test_class_weights_of_another_length_are_refused(spec, rule):
    with pytest.raises(OptionError, match=r"class_weights: expected 3 numbers.*found 2"):
        loss(spec, values(spec), rule=rule, class_weights=(1, 2))


@each_spec
def test_equal_class_weights_scale_every_part_but_the_background(spec):
    x = values(spec)
    plain, doubled = loss(spec, x), loss(spec, x, class_weights=(2, 2, 2))
    names = ("box", "classes") if spec.truth_thresh < 1 else ("box", "objectness", "classes")
    for name in names:
        torch.testing.assert_close(getattr(doubled, name), 2 * getattr(plain, name))
    assert doubled.no_object == plain.no_object


@pytest.mark.parametrize("spec", [head(PJREDDIE), head(), gaussian()], ids=lambda s: s.type)
def test_a_truth_at_the_left_border_counts(spec):
    x, border = values(spec), [1, 0.0, 0.5, 0.3, 0.5]
    assert loss(spec, x, rows(border, *TRUTHS)).total > loss(spec, x).total
    assert (slope(spec, x, rows(border))[0, 1, 0, 1, 0] != 0).all()


@pytest.mark.parametrize("spec", [head(PJREDDIE), head(), gaussian()], ids=lambda s: s.type)
def test_in_c_a_row_whose_x_is_0_ends_the_list(spec):
    x, end = values(spec), [1, 0.0, 0.5, 0.3, 0.5]
    shortened = loss(spec, x, rows(TRUTHS[0], end, TRUTHS[1]), rule="darknet")
    assert shortened.total == loss(spec, x, rows(TRUTHS[0]), rule="darknet").total
    assert shortened.total != loss(spec, x, rule="darknet").total


def test_deviations_and_means_have_their_own_normalizers():
    spec = gaussian(iou_normalizer=0.6, uc_normalizer=0.2)
    x = values(spec)
    found = slope(spec, x)
    both = {n: slope(gaussian(iou_normalizer=n, uc_normalizer=n), x) for n in (0.6, 0.2)}
    torch.testing.assert_close(found[:, :, 0:8:2], both[0.6][:, :, 0:8:2])
    torch.testing.assert_close(found[:, :, 1:8:2], both[0.2][:, :, 1:8:2])
    mean = loss(gaussian(iou_normalizer=0.4, uc_normalizer=0.4), x)
    torch.testing.assert_close(loss(spec, x).box, mean.box)


@pytest.mark.parametrize("kind", IOU_LOSSES)
def test_by_an_overlap_means_learn_nothing_of_deviations(kind):
    spec = gaussian(iou_loss=kind, uc_normalizer=0.5)
    x = values(spec)
    found, without = slope(spec, x), slope(dataclasses.replace(spec, uc_normalizer=0), x)
    torch.testing.assert_close(found[:, :, 0:8:2], without[:, :, 0:8:2])
    assert (without[:, :, 1:8:2] == 0).all()
    assert (found[PLACES[0]][1:8:2] != 0).all()


@pytest.mark.parametrize("kind", IOU_LOSSES)
def test_beside_an_overlap_the_derivative_at_deviations_is_that_of_the_number(kind):
    spec = gaussian(iou_loss=kind, uc_normalizer=0.5)
    x = values(spec).unflatten(1, (3, 12))
    free = x[:, :, 1:8:2].clone().requires_grad_()

    def total(deviations):
        entries = torch.cat([x[:, :, 0:8:2], deviations], 2).unflatten(2, (2, 4)).transpose(2, 3)
        whole = torch.cat([entries.flatten(2, 3), x[:, :, 8:]], 2)
        return loss(spec, whole.flatten(1, 2)).total

    assert torch.autograd.gradcheck(total, free, atol=1e-6, fast_mode=True)


def test_where_truths_share_a_place_the_true_derivative_is_limited():
    truths = rows([0, 0.30, 0.40, 0.30, 0.50], [1, 0.35, 0.30, 0.45, 0.60])
    spec, limit = gaussian(uc_normalizer=0.75, iou_thresh=0.2, scale_x_y=1.2), 0.02
    x = (values(spec) * 0.7).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: loss(spec, x, truths).total, x, atol=1e-6, fast_mode=True
    )
    free = slope(spec, x.detach(), truths)[:, :, :8]
    found = slope(dataclasses.replace(spec, max_delta=limit), x.detach(), truths)[:, :, :8]
    assert (free.abs() > limit).any()
    torch.testing.assert_close(found, free.clamp(-limit, limit))


def test_a_deviation_is_pulled_to_the_error():
    spec = gaussian()
    x = perfect(spec, TRUTHS).unflatten(1, (3, 12))
    x[PLACES[0]][1:8:2] = 0.0
    assert (slope(spec, x.flatten(1, 2))[PLACES[0]][1:8:2] > 0).all()  # no error: to be smaller
    x[PLACES[0]][0:8:2] += 2.0
    assert (slope(spec, x.flatten(1, 2))[PLACES[0]][5:8:2] < 0).all()


@pytest.mark.parametrize(("point", "row", "column"), [("left_top", 0, 0), ("right_bottom", 1, 1)])
def test_a_corner_is_learned_where_it_lies(point, row, column):
    spec = gaussian(yolo_point=point)
    found = slope(spec, values(spec), rows([0, 0.30, 0.40, 0.30, 0.50]))
    trained = (found[0, :, :8] != 0).any(1).nonzero().tolist()
    assert trained == [[1, row, column]]


def test_smooth_gaussian_objectness_teaches_spared_boxes_their_class():
    options = {"ignore_thresh": 0.0, "objectness_smooth": True}
    spec = gaussian(**options)
    x = values(spec)
    found = slope(spec, x, rows([0, 0.5, 0.5, 1.0, 1.0]))
    likely = (x.unflatten(1, (3, 12))[:, :, 9:].sigmoid() > 0.25).any(2)
    assert (found[:, :, 9][likely] < 0).all()
    assert (found[:, :, 10:][likely.unsqueeze(2).expand(-1, -1, 2, -1, -1)] > 0).all()


def test_smooth_objectness_aims_at_the_overlap():
    spec = head(objectness_smooth=True, ignore_thresh=0.0)
    x = values(spec) * 0.1
    entries = x.unflatten(1, (3, 8))
    found = slope(spec, x)[0, 1, 4, 0, 1]
    raw = entries[0, 1, :, 0, 1]
    centre = (raw[:2].sigmoid() + torch.tensor([1.0, 0.0])) / torch.tensor(GRID)
    size = raw[2:4].exp() * torch.tensor([20 / 64, 14 / 32])
    wanted = iou(torch.cat([centre, size]), rows()[0, 0, 1:])
    torch.testing.assert_close(found, raw[4].sigmoid() - wanted)


@each_spec
def test_low_precision_is_computed_in_float32(spec):
    x = values(spec, dtype=torch.bfloat16).requires_grad_()
    found = loss(spec, x, rows().float())
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
