"""The Keras losses against those of `darkconv.training`: every part, and the derivative."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

import test_darknet_rule as anchored  # noqa: E402
import test_loss_classifier as classifiers  # noqa: E402
import test_loss_detection as cells  # noqa: E402
import test_loss_region as regions  # noqa: E402
from darkconv.backends.keras.losses import LossParts, loss_parts  # noqa: E402
from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.core.dialect import PJREDDIE  # noqa: E402
from fitting import LATE  # noqa: E402
from keras_gradients import PARTS, channels_last, costs_and_gradient, differentiate  # noqa: E402
from networks import network  # noqa: E402
from yolo_heads import CLASSES, GRID, INPUT, gaussian, head  # noqa: E402

ROUNDING = 1e-9  # both compute in float64
EMPTY = np.full((15, 5), -1.0)
ODD = [
    [1, 1.2, 0.5, 0.3, 0.3],
    [0, 0.4, -0.1, 0.2, 0.2],
    [2, 1.0, 1.0, 0.3, 0.4],
    [1, 0.3, 0.4, 0.0, 0.2],
    [2, 0.3, 0.8, 0.2, -0.1],
]
"""Truths whose centres lie outside or at the border, and truths without an area."""
CLASS_ONLY = [6, 200_000, 200_000, 0.1, 0.1]
CROWDS = [anchored.crowd(seed)[[*range(8), 13, 14]] for seed in range(2)]
TRUTHS = np.stack([np.r_[ODD, CROWDS[0]], EMPTY, np.r_[CROWDS[1], ODD]])
"""Several truths at a place, rows that are none, and one behind the end of C's list."""
REGIONS = {
    **regions.SPECS,
    "predicted-shapes": network(
        regions.BODY.format(classes=4).replace("bias_match=1", "softmax=1"), (27, 4, 5)
    ),
    "alexeyab-rescore": regions.head(softmax=1, rescore=1),
    "alexeyab-classfix-minus-1": regions.head(softmax=1, classfix=-1, thresh=0.01),
    "alexeyab-classfix-2": regions.head(softmax=1, classfix=2, thresh=0.1),
    "alexeyab-raw-focal": regions.head(focal_loss=1),
    "alexeyab-max": regions.head(softmax=1, max=4),
    "pjreddie-raw-background": regions.head("pjreddie", background=1, thresh=1),
    "pjreddie-kept": regions.head("pjreddie", softmax=1, keep_classes="2,0"),
}
DETECTIONS = {
    **cells.SPECS,
    "rescore": cells.head(rescore=1, sqrt=1),
    "random": cells.head(random=1),
}
CLASSIFIERS = {
    **classifiers.SPECS,
    "noloss": classifiers.head("softmax", noloss=1),
    "kept": classifiers.head("softmax", keep_classes="4,1"),
    "fork-smooth": classifiers.head("cost", "alexeyab", type="smooth"),
    "fork-L1": classifiers.head("cost", "alexeyab", type="L1"),
}
each_rule = pytest.mark.parametrize("rule", ["default", "darknet"])


def each(specs):
    return pytest.mark.parametrize("name", specs)


def layer_of(spec):
    """A layer with the options of `yolo_heads`."""
    text = f"[{spec.type}]\nmask=0,1,2\nnum=3\nclasses={CLASSES}\n"
    layer = network(text, (3 * spec.anchor_entries, *GRID[::-1])).layers[0]
    return replace(layer, spec=spec)


def anchored_values(spec):
    """A head's input for TRUTHS; in the last picture some of its scores are exactly 0 or 1."""
    makers = anchored.given, anchored.given, anchored.settled
    return torch.cat([make(spec, seed) for seed, make in enumerate(makers)]).numpy()


def region_truths(net):
    truths = TRUTHS.copy()
    if net.layers[0].tree:
        truths[2, 7] = CLASS_ONLY
    return truths


def classifier_truths(name, count):
    if name == "kept":
        return np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    truths = classifiers.truths_of(name.removeprefix("fork-"), count).numpy()
    truths[1] = classifiers.ONE_HOT
    return truths


def assert_same(layer, x, truths, *, input_size=INPUT, **setting):
    """Parts for each picture, whose sums and derivative are torch's."""
    found, gradient = costs_and_gradient(layer, x, truths, input_size=input_size, **setting)
    entries = torch.from_numpy(x).requires_grad_()
    report = head_loss(layer, entries, torch.from_numpy(truths), input_size=input_size, **setting)
    report.total.backward()
    np.testing.assert_allclose(gradient, entries.grad.numpy(), rtol=ROUNDING, atol=ROUNDING)
    for name in PARTS:
        expected = getattr(report, name).item()
        assert found[name].shape == (len(x),)
        assert found[name].sum() == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING), name
    return found, gradient


@each_rule
@each(anchored.SPECS)
def test_yolo_and_gaussian_yolo_cost_what_they_cost_in_torch(name, rule):
    spec = anchored.SPECS[name]
    found, gradient = assert_same(layer_of(spec), anchored_values(spec), TRUTHS, rule=rule)
    assert all(found[part].sum() > 0 for part in PARTS)
    assert (gradient != 0).any()


OPTIONS = {
    "iou_loss": st.sampled_from(["mse", "iou", "giou", "diou", "ciou"]),
    "iou_thresh": st.sampled_from([0.1, 0.3]),
    "iou_thresh_kind": st.sampled_from(["giou", "diou", "ciou"]),
    "scale_x_y": st.sampled_from([1.05, 2.0]),
    "ignore_thresh": st.sampled_from([0.0, 0.1]),
    "truth_thresh": st.sampled_from([0.0, 0.25]),
    "label_smooth_eps": st.just(0.1),
    "objectness_smooth": st.booleans(),
    "focal_loss": st.booleans(),
    "counters_per_class": st.just((10, 40, 5)),
    "max_delta": st.sampled_from([0.05, 3.0]),
    "max": st.just(4),
    **{f"{part}_normalizer": st.just(0.4) for part in ("iou", "obj", "cls", "delta")},
}
YOLOS = st.builds(
    head,
    **{name: values | st.just(head().__dict__[name]) for name, values in OPTIONS.items()},
    new_coords=st.booleans(),
    show_details=st.booleans(),
)
GAUSSIANS = st.builds(
    gaussian,
    **{name: values | st.just(gaussian().__dict__[name]) for name, values in OPTIONS.items()},
    yolo_point=st.sampled_from(["center", "left_top", "right_bottom"]),
    uc_normalizer=st.sampled_from([0.3, 2.0]),
)
ORIGINALS = st.builds(
    head,
    st.just(PJREDDIE),
    ignore_thresh=OPTIONS["ignore_thresh"],
    truth_thresh=OPTIONS["truth_thresh"],
)


@given(
    spec=st.one_of(YOLOS, GAUSSIANS, ORIGINALS),
    rule=st.sampled_from(["default", "darknet"]),
    class_weights=st.sampled_from([(), (1.0, 2.0, 0.0)]),
)
@settings(max_examples=12)
def test_whatever_the_options_the_cost_is_that_of_torch(spec, rule, class_weights):
    x = anchored_values(spec)
    assert_same(layer_of(spec), x, TRUTHS, rule=rule, class_weights=class_weights)


@each_rule
@each(REGIONS)
def test_region_costs_what_it_costs_in_torch(name, rule):
    net = REGIONS[name]
    weights = (1.0, 2.0) if name == "pjreddie-kept" else ()
    x = regions.values(net, images=3)
    if name == "alexeyab-raw-focal":
        x = x.sigmoid()  # C takes the logarithm of a score
    setting = {"rule": rule, "seen": 0, "class_weights": weights}
    found, gradient = assert_same(net.layers[0], x.numpy(), region_truths(net), **setting)
    assert all(found[part].sum() > 0 for part in ("total", "box", "no_object", "classes"))
    assert (gradient != 0).any()


@each_rule
def test_behind_its_first_pictures_region_costs_what_it_costs_in_torch(rule):
    net = REGIONS["alexeyab"]
    x = regions.values(net, images=3).numpy()
    early, _ = costs_and_gradient(net.layers[0], x, TRUTHS, input_size=INPUT, rule=rule, seen=0)
    late, _ = assert_same(net.layers[0], x, TRUTHS, rule=rule, seen=LATE)
    assert (late["box"] < early["box"]).all()


@each_rule
@each(DETECTIONS)
def test_detection_costs_what_it_costs_in_torch(name, rule):
    layer, x = DETECTIONS[name].layers[0], cells.values(images=3).numpy()
    setting = {"rule": rule, "seen": LATE, "class_weights": (1.0, 2.0, 0.0, 3.0)}
    found, gradient = assert_same(layer, x, TRUTHS, **setting)
    assert all(found[part].sum() > 0 for part in PARTS)
    assert (gradient != 0).any()


def test_at_first_c_picks_boxes_of_detection_by_digits_of_the_input():
    layer, x = DETECTIONS["random"].layers[0], cells.values(images=20).numpy()
    truths = cells.rows().repeat(20, 1, 1).numpy()
    found, gradient = costs_and_gradient(layer, x, truths, input_size=INPUT, rule="darknet")
    again, _ = costs_and_gradient(layer, x, truths, input_size=INPUT, rule="darknet")
    slopes = cells.cells(DETECTIONS["random"], torch.tensor(gradient))
    trained = (slopes.boxes != 0).any(2).reshape(20, -1, cells.BOXES)
    assert (trained[:, cells.CELLS].sum(2) == 1).all()
    assert trained.sum() == 20 * len(cells.CELLS)
    assert trained.any(0).any(0).all()
    assert (found["total"] == again["total"]).all()
    assert_same(layer, x, truths, seen=0)


@each_rule
@each(CLASSIFIERS)
def test_classifiers_cost_what_they_cost_in_torch(name, rule):
    layer, x = CLASSIFIERS[name].layers[0], classifiers.values(images=3).numpy()
    truths = classifier_truths(name, 3)
    weights = tuple(np.arange(1.0, truths.shape[1] + 1))
    setting = {"rule": rule, "input_size": (1, 1), "class_weights": weights}
    found, gradient = assert_same(layer, x, truths, **setting)
    assert (found["classes"] == found["total"]).all()
    assert not any(found[part].any() for part in ("box", "objectness", "no_object"))
    assert (gradient != 0).any() == (found["total"] != 0).any() == (name != "noloss")


@each_rule
@each(["detection", "softmax", "tree", "logistic", "sse"])
def test_maps_are_read_as_vectors(name, rule):
    if name == "detection":
        net, x, truths = DETECTIONS["sqrt"], cells.values(images=3), TRUTHS
    else:
        net, x, truths = CLASSIFIERS[name], classifiers.values(images=3), classifier_truths(name, 3)
    maps = x.reshape(3, -1, 3, 1).numpy()
    setting = {"input_size": INPUT, "rule": rule, "seen": LATE}
    flat, slope = costs_and_gradient(net.layers[0], x.numpy(), truths, **setting)
    found, gradient = costs_and_gradient(net.layers[0], maps, truths, **setting)
    np.testing.assert_allclose(gradient.reshape(3, -1), slope, rtol=ROUNDING)
    np.testing.assert_allclose(found["total"], flat["total"], rtol=ROUNDING)


KINDS = {
    "yolo": layer_of(head(iou_loss="ciou", iou_thresh=0.2, max_delta=0.1)),
    "gaussian": layer_of(gaussian(uc_normalizer=0.5, max_delta=0.1)),
    "region": REGIONS["pjreddie-background"].layers[0],
    "region-tree": REGIONS["alexeyab-tree"].layers[0],
    "detection": DETECTIONS["softmax"].layers[0],
}
"""One head of each kind that takes boxes."""


def values_of(layer, images=3, dtype=np.float64):
    stream = np.random.default_rng(0)
    return stream.normal(size=(images, *layer.in_shapes[0])).astype(dtype)


COORDINATES = st.floats(-0.3, 1.3, allow_subnormal=False)  # which TensorFlow takes for 0
SIZES = st.just(0.0) | st.floats(1e-3, 1.3)
ROWS = st.tuples(st.integers(-1, CLASSES), COORDINATES, COORDINATES, SIZES, SIZES)


@given(rows=st.lists(ROWS, max_size=6), rule=st.sampled_from(["default", "darknet"]))
@settings(max_examples=4)
@each(KINDS)
def test_whatever_the_truths_the_cost_is_that_of_torch(name, rows, rule):
    truths = np.reshape(rows, (1, len(rows), 5)).astype(np.float64)
    assert_same(KINDS[name], values_of(KINDS[name], images=1), truths, rule=rule, seen=LATE)


@each(KINDS)
def test_each_picture_has_its_own_cost(name):
    layer = KINDS[name]
    x = values_of(layer)
    whole, _ = costs_and_gradient(layer, x, TRUTHS, input_size=INPUT)
    for i in range(3):
        alone, truths = torch.from_numpy(x[i : i + 1]), torch.from_numpy(TRUTHS[i : i + 1])
        report = head_loss(layer, alone, truths, input_size=INPUT)
        for part in PARTS:
            assert whole[part][i] == pytest.approx(getattr(report, part).item(), rel=ROUNDING)


@each_rule
@each(KINDS)
def test_extreme_inputs_give_finite_numbers(name, rule):
    layer = KINDS[name]
    x = values_of(layer, dtype=np.float32) * np.float32([50, 50, 1e4])[:, None, None, None]
    truths = TRUTHS[[0, 2, 0]].astype(np.float32)
    setting = {"input_size": INPUT, "rule": rule, "seen": LATE}
    found, gradient = costs_and_gradient(layer, x, truths, **setting)
    assert np.isfinite(gradient).all()
    if rule == "default":
        assert all(np.isfinite(found[part]).all() for part in PARTS)


@each(["yolo", "region", "detection"])
def test_half_precision_is_computed_in_float32(name):
    layer, truths = KINDS[name], TRUTHS.astype(np.float32)
    x = values_of(layer, dtype=np.float16)
    found, gradient = costs_and_gradient(layer, x, truths, input_size=INPUT)
    wanted, slope = costs_and_gradient(layer, x.astype(np.float32), truths, input_size=INPUT)
    assert found["total"].dtype == np.float32
    assert gradient.dtype == np.float16
    np.testing.assert_array_equal(found["total"], wanted["total"])
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=1e-6)


@each(["yolo", "gaussian"])
def test_max_delta_limits_the_cost_before_it_is_weighed(name):
    layer, x = KINDS[name], values_of(KINDS[name])
    parts = loss_parts(layer, input_size=INPUT)

    def tripled(truths, x):
        return LossParts(*(3 * value for value in vars(parts(truths, x)).values()))

    _, once = costs_and_gradient(layer, x, TRUTHS, input_size=INPUT)
    _, thrice = differentiate(tripled, channels_last(x), TRUTHS)
    entries = once.reshape(3, 3, -1, *GRID[::-1])
    assert np.abs(entries[:, :, : layer.spec.box_entries - 1]).max() == pytest.approx(0.1)
    np.testing.assert_allclose(np.moveaxis(thrice, -1, 1), 3 * once, rtol=ROUNDING)
