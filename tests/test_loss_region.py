"""The loss of a [region] head: least at the truth, with true derivatives, finite everywhere."""

import math

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.backends.torch.losses.overlap import iou, shape_overlap  # noqa: E402
from darkconv.core.tree import Tree  # noqa: E402
from darkconv.errors import GraphError, OptionError, UnsupportedError  # noqa: E402
from fitting import LATE, assert_found, fit, predicted  # noqa: E402
from networks import network  # noqa: E402

GRID = (5, 4)  # (columns, rows)
ANCHORS = ((1.0, 0.8), (2.0, 1.5), (3.5, 3.0))  # in cells
CLASSES = 4
ENTRIES = 5 + CLASSES
BODY = "[region]\nclasses={classes}\nnum=3\nanchors=1,.8,2,1.5,3.5,3\n"
TREE = Tree(("animal", "vehicle", "dog", "cat", "car", "bus", "hound"), (-1, -1, 0, 0, 1, 1, 2))
TRUTHS = [[0, 0.30, 0.40, 0.41, 0.40], [2, 0.85, 0.70, 0.18, 0.21]]
PLACES = [(1, 1, 1), (0, 2, 4)]  # (anchor, row, column) of each of them
PARTS = ("box", "objectness", "no_object", "classes")


def head(dialect="alexeyab", *, tree=None, **options):
    """A network of one head."""
    classes = len(tree.parents) if tree else CLASSES
    options = {"bias_match": 1, **options}
    body = BODY.format(classes=classes) + "".join(f"{k}={v}\n" for k, v in options.items())
    body += "tree=tree.txt\n" if tree else ""
    shape = (3 * (5 + classes), GRID[1], GRID[0])
    return network(body, shape, dialect, trees={"tree.txt": tree} if tree else {})


SPECS = {
    "pjreddie": head("pjreddie", softmax=1),
    "pjreddie-sigmoid": head("pjreddie"),
    "pjreddie-background": head("pjreddie", softmax=1, background=1, noobject_scale=0.5),
    "pjreddie-tree": head("pjreddie", softmax=1, tree=TREE),
    "alexeyab": head(softmax=1),
    "alexeyab-raw": head(),
    "alexeyab-focal": head(softmax=1, focal_loss=1),
    "alexeyab-classfix": head(softmax=1, classfix=1, thresh=0.1),
    "alexeyab-tree": head(softmax=1, tree=TREE),
    "predicted-shapes": head(softmax=1, bias_match=0),
    "scales": head(softmax=1, object_scale=5, noobject_scale=0.5, class_scale=2, coord_scale=3),
}
each_head = pytest.mark.parametrize("net", SPECS.values(), ids=SPECS)


def values(net, *, images=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((images, *net.input_shape), generator=generator, dtype=dtype)


def rows(*truths):
    return torch.tensor([truths or TRUTHS], dtype=torch.float64)


def loss(net, x, truths=None, *, seen=LATE, **options):
    truths = rows() if truths is None else truths
    return head_loss(net.layers[0], x, truths, input_size=(160, 128), seen=seen, **options)


def slope(net, x, truths=None, **options):
    """Derivative of the total, as (images, anchors, entries, rows, columns)."""
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(net, x, truths, **options).total, x)
    return found.unflatten(1, (3, -1))


def perfect(net, truths, *, certainty=20.0):
    """A head's input that says the truths (one per cell) with the anchor of the best shape."""
    spec = net.layers[0].spec
    x = torch.zeros(1, 3, 5 + spec.classes, GRID[1], GRID[0], dtype=torch.float64)
    x[:, :, 4:] = -certainty
    if spec.background:
        x[:, :, 4] = certainty
    for number, *box in truths:
        scaled = torch.tensor(box) * torch.tensor(GRID * 2)
        column, row = (int(v) for v in scaled[:2])
        anchors = torch.tensor(ANCHORS)
        best = int(shape_overlap("iou", anchors, scaled[2:]).argmax())
        entry = x[0, best, :, row, column]
        entry[:2] = torch.logit(scaled[:2].frac())
        entry[2:4] = (scaled[2:] / anchors[best]).log()
        entry[4] = -certainty if spec.background else certainty
        if is_raw(net):
            entry[5:] = 0
        entry[5 + int(number)] = 1 if is_raw(net) else certainty
    return x.flatten(1, 2)


def is_raw(net):
    spec = net.layers[0].spec
    return not spec.softmax and spec.dialect.name == "alexeyab"


@pytest.mark.parametrize("name", [name for name in SPECS if name != "alexeyab-classfix"])
def test_a_perfect_prediction_costs_next_to_nothing(name):
    """`classfix` wants the class of other places too."""
    net, truths = SPECS[name], TRUTHS
    if net.layers[0].tree:
        truths = [[0, *TRUTHS[0][1:]], [1, *TRUTHS[1][1:]]]  # roots: one distribution each
    x = perfect(net, truths)
    found = loss(net, x, rows(*truths))
    assert 0 <= found.total < 1e-3
    assert found.iou == pytest.approx(1.0, abs=1e-6)
    assert found.recall == 1


@each_head
@pytest.mark.parametrize("seen", [0, LATE])
def test_the_derivative_is_that_of_the_number(net, seen):
    x = (values(net) * 0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(net, x, seen=seen).total, x, fast_mode=True)


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_batch_costs_what_its_images_cost(net, rule):
    x = values(net, images=3)
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
    found = loss(net, values(net), rule=rule)
    torch.testing.assert_close(found.total, sum(getattr(found, name) for name in PARTS))
    assert found.box > 0
    assert found.classes > 0


@each_head
@pytest.mark.parametrize("count", [0, 1, 4])
def test_without_truths_only_the_background_costs(net, count):
    found = loss(net, values(net), torch.full((1, count, 5), -1.0))
    assert found.total == found.no_object > 0
    assert (found.iou, found.recall) == (0, 0)


def test_boxes_are_drawn_to_their_anchors_at_first():
    net, none = SPECS["alexeyab"], torch.full((1, 1, 5), -1.0)
    x = values(net)
    for seen, scale in ((12_799, 0.01), (12_800, 0.0)):
        offsets = x.unflatten(1, (3, ENTRIES))[:, :, :2].sigmoid()
        sizes = x.unflatten(1, (3, ENTRIES))[:, :, 2:4]
        wanted = scale / 2 * ((offsets - 0.5).square().sum() + sizes.square().sum())
        torch.testing.assert_close(loss(net, x, none, seen=seen).box, wanted)


def test_rows_that_are_no_truth_change_nothing():
    net = SPECS["alexeyab"]
    x = values(net)
    far = [1, 200_000, 200_000, 0.1, 0.1]
    odd = [[-1] * 5, [CLASSES, 0.5, 0.5, 0.2, 0.2], [1, 0.5, 0.5, 0.0, 0.2], far]
    assert loss(net, x, rows(odd[0], *TRUTHS, *odd[1:])).total == loss(net, x).total


def test_a_centre_at_the_left_border_ends_the_list_of_c_alone():
    net = SPECS["alexeyab"]
    x = values(net)
    truths = rows(TRUTHS[0], [1, 0.0, 0.5, 0.3, 0.3], TRUTHS[1])
    cut = loss(net, x, rows(TRUTHS[0]), rule="darknet").total
    assert loss(net, x, truths, rule="darknet").total == cut
    moved = rows(TRUTHS[0], [1, 1e-9, 0.5, 0.3, 0.3], TRUTHS[1])
    torch.testing.assert_close(loss(net, x, truths).total, loss(net, x, moved).total)


@pytest.mark.parametrize(("dialect", "count"), [("pjreddie", 30), ("alexeyab", 2)])
def test_c_reads_a_limited_number_of_rows(dialect, count):
    net = head(dialect, softmax=1, max=2)
    x = values(net)
    truths = torch.rand(1, 40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truths[..., 0] = 1
    some = loss(net, x, truths[:, :count], rule="darknet").total
    assert loss(net, x, truths, rule="darknet").total == some
    assert loss(net, x, truths).total != loss(net, x, truths[:, :count]).total


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_a_box_good_enough_is_spared(dialect):
    net = head(dialect, softmax=1, thresh=0.6)
    x = values(net) * 0.1
    good = perfect(net, TRUTHS).unflatten(1, (3, ENTRIES))[0, 1, :, 1, 1]
    place = x.unflatten(1, (3, ENTRIES))[0, 2, :, 1, 1]
    place[:] = good
    place[2:4] += torch.tensor(ANCHORS[1]).log() - torch.tensor(ANCHORS[2]).log()
    found = slope(net, x, rows(TRUTHS[0]))
    assert (found[0, 2, :, 1, 1] == 0).all()
    assert found[0, 1, 4, 1, 1] < 0  # the place of the truth's own anchor is trained up
    assert found[0, 0, 4, 1, 1] > 0  # and the third one down


FIRST, SECOND = [0, 0.30, 0.40, 0.41, 0.40], [2, 0.28, 0.35, 0.40, 0.35]  # the same place


@pytest.mark.parametrize("name", ["pjreddie", "alexeyab", "alexeyab-raw", "alexeyab-focal"])
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_the_last_truth_at_a_place_has_it(name, rule):
    net = SPECS[name]
    x = values(net)
    both = slope(net, x, rows(FIRST, SECOND), rule=rule)
    alone = slope(net, x, rows(SECOND), rule=rule)
    torch.testing.assert_close(both[0, 1, :, 1, 1], alone[0, 1, :, 1, 1])


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_sigmoids_learn_the_classes_of_all_truths_at_a_place(rule):
    net = SPECS["pjreddie-sigmoid"]
    x = values(net)
    both = slope(net, x, rows(FIRST, SECOND), rule=rule)[0, 1, :, 1, 1]
    torch.testing.assert_close(both[:5], slope(net, x, rows(SECOND), rule=rule)[0, 1, :5, 1, 1])
    p = x.unflatten(1, (3, ENTRIES))[0, 1, 5:, 1, 1].sigmoid()
    torch.testing.assert_close(both[5:], p - torch.tensor([1.0, 0, 1, 0]))


def test_c_forgets_a_class_if_the_first_class_has_no_error():
    net = SPECS["pjreddie-sigmoid"]
    x = values(net)
    x.unflatten(1, (3, ENTRIES))[0, 1, 5, 1, 1] = 1e4  # class 0 is certain, and true at first
    found = [
        slope(net, x, rows(FIRST, SECOND), rule=r)[0, 1, 5, 1, 1] for r in ("default", "darknet")
    ]
    assert found == [0, 1]


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_truths_at_a_place_share_a_tree(rule):
    """Cat, then bus: the roots are the last truth's; cat and bus learn among their siblings."""
    net = SPECS["alexeyab-tree"]
    x = values(net)
    found = slope(net, x, rows([3, *FIRST[1:]], [5, *SECOND[1:]]), rule=rule)[0, 1, 5:, 1, 1]
    raw = x.unflatten(1, (3, -1))[0, 1, 5:, 1, 1]
    p = torch.cat([part.softmax(0) for part in raw.split([2, 2, 2, 1])])
    wanted = p - torch.tensor([0, 1.0, 0, 1, 0, 1, 0])
    wanted[6] = 0  # below dog, where nobody is
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_label_without_a_box_trains_the_class_of_the_likeliest_place(dialect, rule):
    net = SPECS[f"{dialect}-tree"]
    x = values(net, images=2)
    label = [6, 200_000, 200_000, 0.1, 0.1]  # hound
    truths = torch.cat([rows(TRUTHS[0], label), rows()])
    found = slope(net, x, truths, rule=rule, seen=0)
    split = x.unflatten(1, (3, -1))[0]
    siblings = [part.softmax(1) for part in split[:, 5:].split([2, 2, 2, 1], 1)]
    p = torch.cat(siblings, 1)
    known = split[:, 4].sigmoid()
    chance = known * p[:, 0] * p[:, 2] * p[:, 6]
    place = torch.unravel_index(chance.argmax(), chance.shape)
    anchor, row, column = (int(v) for v in place)
    wanted = torch.zeros_like(found[0])
    error = p - torch.tensor([1.0, 0, 1, 0, 0, 0, 1]).reshape(-1, 1, 1)
    error[:, 4:6] = 0
    wanted[anchor, 5:, row, column] = error[anchor, :, row, column]
    if dialect == "pjreddie":
        wanted[:, 4] = known * (known * (1 - known) if rule == "default" else 1)
        wanted[anchor, 4, row, column] = 0
    torch.testing.assert_close(found[0], wanted)
    torch.testing.assert_close(found[1], slope(net, x[1:], rows(), rule=rule, seen=0)[0])


def test_rescore_aims_objectness_at_the_overlap_and_nothing_else_changes():
    plain, net = SPECS["alexeyab"], head(softmax=1, rescore=1)
    x = values(net)
    wanted, found = slope(plain, x), slope(net, x)
    for (_, *box), (anchor, row, column) in zip(TRUTHS, PLACES, strict=True):
        raw = x.unflatten(1, (3, ENTRIES))[0, anchor, :, row, column]
        centre = (raw[:2].sigmoid() + torch.tensor([column, row])) / torch.tensor(GRID)
        size = raw[2:4].exp() * torch.tensor(ANCHORS[anchor]) / torch.tensor(GRID)
        overlap = iou(torch.cat([centre, size]), torch.tensor(box, dtype=torch.float64))
        p = raw[4].sigmoid()
        wanted[0, anchor, 4, row, column] = (p - overlap) * p * (1 - p)
    torch.testing.assert_close(found, wanted)


def test_classfix_minus_1_aims_all_objectness_at_the_best_overlap():
    net = head(softmax=1, classfix=-1, thresh=0.01)
    x = values(net)
    p = x.unflatten(1, (3, ENTRIES))[0, :, 4].sigmoid()
    aims = p - slope(net, x)[0, :, 4] / (p * (1 - p))
    for place in PLACES:
        aims[place] = 0
    assert (aims > -1e-9).all()
    assert (aims > 0.01).any()
    assert (aims < 1).all()


def test_classfix_2_weighs_spared_classes_with_objectness():
    whole, weighed = (head(softmax=1, thresh=0.1, classfix=n) for n in (1, 2))
    x = values(whole)
    found, wanted = slope(weighed, x), slope(whole, x)
    known = x.unflatten(1, (3, ENTRIES))[:, :, 4:5].sigmoid().clone()
    for anchor, row, column in PLACES:
        known[0, anchor, :, row, column] = 1
    wanted[:, :, 5:] *= known
    torch.testing.assert_close(found, wanted)
    assert (wanted[:, :, 5:] != 0).sum() > 2 * CLASSES


def test_focal_weights_of_raw_scores_are_constants():
    net, plain = head(focal_loss=1), SPECS["alexeyab-raw"]
    x = values(net)
    found, wanted = slope(net, x)[:, :, 5:], slope(plain, x)[:, :, 5:]
    for (number, *_), (anchor, row, column) in zip(TRUTHS, PLACES, strict=True):
        p = float(x.unflatten(1, (3, ENTRIES))[0, anchor, 5 + number, row, column].clamp(0, 1))
        logarithm = math.log(p) if p else 0
        wanted[0, anchor, :, row, column] *= 0.5 * (p - 1) * (2 * p * logarithm + p - 1)
    torch.testing.assert_close(found, wanted)


def test_background_without_softmax_is_raw():
    net = head("pjreddie", background=1, noobject_scale=2, thresh=1)
    x = values(net)
    wanted = 2 * (x.unflatten(1, (3, ENTRIES))[:, :, 4] - 1)
    for place in PLACES:
        wanted[0][place] = wanted[0][place] / 2 + 1
    for rule in ("default", "darknet"):
        torch.testing.assert_close(slope(net, x, rule=rule)[:, :, 4], wanted)


@each_head
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_numbers(net, size):
    x = (values(net, dtype=torch.float32) * size).requires_grad_()
    found = loss(net, x, rows().float(), seen=0)
    found.total.backward()
    assert all(torch.isfinite(value) for value in vars(found).values())
    assert torch.isfinite(x.grad).all()


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_class_weights_scale_all_that_a_truth_costs(net, rule):
    x = values(net)
    factors = torch.ones(net.layers[0].spec.classes)
    factors[2] = 3.0
    found = slope(net, x, class_weights=tuple(factors.tolist()), rule=rule)
    wanted = slope(net, x, rule=rule)
    anchor, row, column = PLACES[1]
    wanted[0, anchor, :, row, column] *= 3
    spared = "classfix" not in net.layers[0].section.options()
    compared = slice(None) if spared else slice(0, 5)
    torch.testing.assert_close(found[:, :, compared], wanted[:, :, compared])


def test_class_weights_of_another_length_are_refused():
    with pytest.raises(OptionError, match=r"class_weights: expected 4 numbers.*found 2"):
        loss(SPECS["alexeyab"], values(SPECS["alexeyab"]), class_weights=(1.0, 2.0))


@pytest.mark.parametrize("name", ["pjreddie", "alexeyab"])
def test_kept_classes_count_from_the_first_kept(name):
    net, whole = head(name, softmax=1, keep_classes="2,0"), SPECS[name]
    x = values(net)
    found = slope(net, x, rows([0, *TRUTHS[0][1:]], [1, *TRUTHS[1][1:]]))
    wanted = slope(whole, x, rows([2, *TRUTHS[0][1:]], [0, *TRUTHS[1][1:]]))
    torch.testing.assert_close(found, wanted)


def test_coordinates_behind_the_box_are_refused():
    body = BODY.format(classes=CLASSES) + "coords=6\n"
    net = network(body, (33, 4, 5), "pjreddie")
    with pytest.raises(UnsupportedError, match=r"coords: those behind .* no labels"):
        loss(net, values(net))


@pytest.mark.parametrize(
    "trees", [{}, {"tree.txt": Tree(("a", "b"), (-1, -1))}], ids=["none", "small"]
)
def test_a_tree_that_does_not_fit_is_refused(trees):
    body = BODY.format(classes=CLASSES) + "tree=tree.txt\n"
    net = network(body, (27, 4, 5), "alexeyab", trees=trees)
    found = "found 2" if trees else "tree.txt was not found"
    with pytest.raises(GraphError, match=rf"layer 0 \[region\] tree: .*{found}"):
        loss(net, values(net))


def test_low_precision_is_computed_in_float32():
    net = SPECS["alexeyab"]
    x = values(net, dtype=torch.bfloat16).requires_grad_()
    for rule in ("default", "darknet"):
        found = loss(net, x, rows().float(), rule=rule)
        torch.testing.assert_close(
            found.total, loss(net, x.float(), rows().float(), rule=rule).total
        )
        assert found.total.dtype == torch.float32
        found.total.backward()
        assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", SPECS)
def test_a_fitted_head_predicts_the_truths(name):
    net = head(softmax=1, classfix=1, thresh=0.6) if name == "alexeyab-classfix" else SPECS[name]
    truths = rows().float()
    if net.layers[0].tree:
        truths[0, :, 0] = torch.tensor([5, 6])  # bus and hound
    start = values(net, dtype=torch.float32) * 0.1
    x = fit(net, truths, start=start)
    boxes, scores = predicted(net, x)
    if net.layers[0].tree:
        assert set(scores.argmax(1)) == {5, 6}
    assert_found(truths, boxes, scores)
