"""The loss of a [detection] head: least at the truth, with true derivatives, finite everywhere."""

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.backends.torch.losses.detection import CellValues  # noqa: E402
from darkconv.backends.torch.losses.overlap import iou  # noqa: E402
from darkconv.errors import OptionError, UnsupportedError  # noqa: E402
from fitting import LATE, assert_found, fit, predicted  # noqa: E402
from networks import network  # noqa: E402

SIDE, CLASSES, BOXES = 3, 4, 2
VALUES = SIDE**2 * (CLASSES + BOXES * 5)
BODY = f"[detection]\nside={SIDE}\nclasses={CLASSES}\nnum={BOXES}\ncoords=4\n"
TRUTHS = [[1, 0.30, 0.45, 0.30, 0.50], [3, 0.80, 0.75, 0.15, 0.20]]
CELLS = (3, 8)  # of each of them
PARTS = ("box", "objectness", "no_object", "classes")


def head(dialect="alexeyab", **options):
    """A network of one head."""
    body = BODY + "".join(f"{key}={value}\n" for key, value in options.items())
    return network(body, (VALUES, 1, 1), dialect)


SPECS = {
    "plain": head(),
    "sqrt": head("pjreddie", sqrt=1),
    "softmax": head(softmax=1, sqrt=1),
    "forced": head(forced=1, sqrt=1),
    "scales": head(object_scale=2, noobject_scale=0.3, class_scale=0.7, coord_scale=5),
}
each_head = pytest.mark.parametrize("net", SPECS.values(), ids=SPECS)


def values(*, images=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((images, VALUES), generator=generator, dtype=dtype)


def rows(*truths):
    return torch.tensor([truths or TRUTHS], dtype=torch.float64)


def loss(net, x, truths=None, **options):
    truths = rows() if truths is None else truths
    return head_loss(net.layers[0], x, truths, input_size=(96, 96), **{"seen": LATE, **options})


def slope(net, x, truths=None, **options):
    """Derivative of the total, as `CellValues`."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(net, x, truths, **options).total, x)
    return cells(net, found)


def cells(net, x):
    return CellValues.of(net.layers[0].spec, x)


def perfect(net):
    """A head's input that says the truths, in box 0 of their cells."""
    spec = net.layers[0].spec
    said = cells(net, torch.zeros(1, VALUES, dtype=torch.float64))
    if spec.softmax:
        said.scores[:] = -20
    for (number, *box), cell in zip(TRUTHS, CELLS, strict=True):
        x, y, w, h = torch.tensor(box, dtype=torch.float64)
        place = 1 if spec.forced and w * h < 0.1 else 0
        said.scores[cell, number] = 20 if spec.softmax else 1
        said.known[cell, place] = 1
        size = torch.stack([w, h])
        centre = (torch.stack([x, y]) * SIDE).frac()
        said.boxes[cell, place] = torch.cat([centre, size.sqrt() if spec.sqrt else size])
    return said.flat(1)


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_perfect_prediction_costs_next_to_nothing(net, rule):
    found = loss(net, perfect(net), rule=rule)
    assert 0 <= found.total < 1e-3
    assert found.iou == pytest.approx(1.0, abs=1e-6)
    assert found.recall == 1


@each_head
def test_the_derivative_is_that_of_the_number(net):
    x = values().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(net, x).total, x, fast_mode=True)


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_batch_costs_what_its_images_cost(net, rule):
    x = values(images=3)
    truths = torch.full((3, 2, 5), -1.0, dtype=torch.float64)
    truths[0], truths[2, :1] = rows()[0], rows()[0, 1:]
    whole = loss(net, x, truths, rule=rule)
    parts = [loss(net, x[i : i + 1], truths[i : i + 1], rule=rule) for i in range(3)]
    for name in ("total", *PARTS):
        alone = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(getattr(whole, name), alone)


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_parts_add_up(net, rule):
    found = loss(net, values(), rule=rule)
    torch.testing.assert_close(found.total, sum(getattr(found, name) for name in PARTS))
    assert found.box > 0
    assert found.classes > 0


@each_head
@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_truths_only_the_background_costs(net, count):
    found = loss(net, values(), torch.full((1, count, 5), -1.0))
    assert found.total == found.no_object > 0
    assert (found.iou, found.recall) == (0, 0)


def test_rows_that_are_no_truth_change_nothing():
    net, x = SPECS["plain"], values()
    odd = [[-1] * 5, [CLASSES, 0.3, 0.45, 0.2, 0.2], [1, 0.3, 0.45, 0.0, 0.2]]
    assert loss(net, x, rows(odd[0], *odd[1:], *TRUTHS)).total == loss(net, x).total


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_cell_keeps_its_first_truth(rule):
    net, x = SPECS["plain"], values()
    second = [0, 0.05, 0.55, 0.2, 0.2]
    assert loss(net, x, rows(*TRUTHS, second), rule=rule).total == loss(net, x, rule=rule).total


def test_the_box_that_overlaps_most_is_responsible():
    net, x = SPECS["plain"], values()
    said = cells(net, x)
    x, y = (torch.tensor(TRUTHS[0][1:3], dtype=torch.float64) * SIDE).frac()
    said.boxes[3, 0] = torch.stack([x, y, x * 0 + 0.10, x * 0 + 0.2])
    said.boxes[3, 1] = torch.stack([x, y, x * 0 + 0.25, x * 0 + 0.5])
    found = slope(net, said.flat(1), rows(TRUTHS[0]))
    assert (found.boxes[3, 0] == 0).all()
    torch.testing.assert_close(found.boxes[3, 1], torch.tensor([0, 0, -0.05, 0]).double())
    assert found.known[3, 1] == said.known[3, 1] - 1
    assert found.known[3, 0] == said.known[3, 0]
    report = loss(net, said.flat(1), rows(TRUTHS[0]))
    assert report.iou == pytest.approx(0.25 / 0.3)


def test_the_nearest_box_is_responsible_if_none_overlaps():
    net, x = SPECS["plain"], values()
    said = cells(net, x)
    said.boxes[3, 0] = torch.tensor([10.0, 10, 0.1, 0.1])
    said.boxes[3, 1] = torch.tensor([5.0, 5, 0.1, 0.1])
    found = slope(net, said.flat(1), rows(TRUTHS[0]))
    assert (found.boxes[3, 0] == 0).all()
    assert (found.boxes[3, 1] != 0).all()


def test_sizes_make_the_choice_when_forced():
    found = slope(SPECS["forced"], values())
    large, small = CELLS
    assert (found.boxes[large] != 0).any(1).tolist() == [True, False]
    assert (found.boxes[small] != 0).any(1).tolist() == [False, True]


def test_rescore_aims_objectness_at_the_overlap_and_nothing_else_changes():
    plain, net, x = SPECS["plain"], head(rescore=1), perfect(SPECS["plain"])
    said = cells(net, x)
    said.boxes[3, 0, 2:] *= 0.8
    said.known[:] += 0.3
    wanted, found = slope(plain, said.flat(1)), slope(net, said.flat(1))
    sizes = said.boxes[3, 0, 2:]
    overlap = iou(torch.cat([sizes * 0, sizes]), torch.cat([sizes * 0, sizes / 0.8]))
    wanted.known[3, 0] = 1.3 - overlap
    for name in ("scores", "known", "boxes"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


def test_c_alone_picks_boxes_at_random_at_first():
    net, plain, x = head(random=1), SPECS["plain"], values()
    assert loss(net, x, seen=0).total == loss(plain, x).total
    assert loss(net, x, rule="darknet").total == loss(plain, x, rule="darknet").total
    torch.manual_seed(0)
    found = {float(loss(net, x, rule="darknet", seen=0).total.detach()) for _ in range(50)}
    assert len(found) == BOXES ** len(TRUTHS)


@each_head
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_numbers(net, size):
    x = (values(dtype=torch.float32) * size).requires_grad_()
    found = loss(net, x, rows().float())
    found.total.backward()
    assert all(torch.isfinite(value) for value in vars(found).values())
    assert torch.isfinite(x.grad).all()


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_class_weights_scale_all_that_a_truth_costs(net, rule):
    x = values()
    found = slope(net, x, class_weights=(1.0, 1.0, 1.0, 3.0), rule=rule)
    wanted = slope(net, x, rule=rule)
    cell = CELLS[1]
    box = int((wanted.boxes[cell] != 0).any(1).long().argmax())
    wanted.scores[cell] *= 3
    wanted.boxes[cell] *= 3
    wanted.known[cell, box] *= 3
    for name in ("scores", "known", "boxes"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


def test_class_weights_of_another_length_are_refused():
    with pytest.raises(OptionError, match=r"class_weights: expected 4 numbers.*found 2"):
        loss(SPECS["plain"], values(), class_weights=(1.0, 2.0))


def test_other_than_four_coordinates_are_refused():
    body = BODY.replace("coords=4", "coords=5")
    net = network(body, (VALUES + SIDE**2 * BOXES, 1, 1))
    with pytest.raises(
        UnsupportedError, match=r"layer 0 \[detection\] coords: expected 4, found 5"
    ):
        loss(net, torch.zeros(1, VALUES + SIDE**2 * BOXES))


def test_maps_are_read_as_vectors():
    net, x = SPECS["plain"], values(images=2)
    truths = rows().expand(2, -1, -1)
    for rule in ("default", "darknet"):
        found = slope(net, x, truths, rule=rule).flat(2)
        shaped = x.reshape(2, -1, 3, 3).clone().requires_grad_()
        loss(net, shaped, truths, rule=rule).total.backward()
        torch.testing.assert_close(shaped.grad.flatten(1), found)


def test_low_precision_is_computed_in_float32():
    net, x = SPECS["sqrt"], values(dtype=torch.bfloat16).requires_grad_()
    for rule in ("default", "darknet"):
        found = loss(net, x, rows().float(), rule=rule)
        torch.testing.assert_close(
            found.total, loss(net, x.float(), rows().float(), rule=rule).total
        )
        assert found.total.dtype == torch.float32
        found.total.backward()
        assert torch.isfinite(x.grad).all()


@each_head
def test_a_fitted_head_predicts_the_truths(net):
    truths = rows().float()
    start = (values(dtype=torch.float32) * 0.1 + 0.2).reshape(1, VALUES, 1, 1)
    x = fit(net, truths, start=start, rate=0.05)
    assert_found(truths, *predicted(net, x))
