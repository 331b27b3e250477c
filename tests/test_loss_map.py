"""Labels that `map=` numbers anew: they cost what the classes cost that they stand for."""

from dataclasses import replace

import numpy as np
import pytest

import darkconv as dc
from darkconv.darknet.class_map import read_class_map
from networks import cfg_text

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.training.objective import LabelObjective  # noqa: E402

MAP = (4, 1, 3)
"""The head's class for each number of a label; more are not in the file."""
TREE = "a -1\nb -1\nc 0\nd 0\ne 1\n"
REGION = "[region]\nanchors=1.2,1.1,2.5,2.0\nnum=2\nclasses=5\n"
ANCHORED = "anchors=10,8,20,14\nnum=2\nclasses=5\n"
HEADS = {
    "region": ("pjreddie", REGION + "softmax=1\n"),
    "region-sigmoid": ("pjreddie", REGION),
    "region-tree": ("pjreddie", REGION + "softmax=1\ntree=tree.txt\n"),
    "region-tree-alexeyab": ("alexeyab", REGION + "softmax=1\ntree=tree.txt\n"),
    "region-alexeyab": ("alexeyab", REGION + "softmax=1\nfocal_loss=1\n"),
    "yolo-pjreddie": ("pjreddie", f"[yolo]\n{ANCHORED}"),
    "yolo": ("alexeyab", f"[yolo]\n{ANCHORED}counters_per_class=5,6,7,8,9\niou_loss=ciou\n"),
    "gaussian": ("alexeyab", f"[Gaussian_yolo]\n{ANCHORED}counters_per_class=5,6,7,8,9\n"),
}
ROWS = [
    [0, 0.30, 0.40, 0.30, 0.50],
    [2, 0.80, 0.70, 0.15, 0.20],
    [1, 0.32, 0.42, 0.28, 0.45],
    [3, 0.50, 0.60, 0.20, 0.20],  # not in the map
    [-1, 0, 0, 0, 0],
]
SIZE = (128, 96)
WEIGHTS = (0.5, 2.0, 3.0)
EXPANDED = (1.0, 2.0, 1.0, 3.0, 0.5)
"""The same for the head's own classes."""


@pytest.fixture(params=HEADS)
def head(request, tmp_path):
    """A network whose only layer has a map, and the layer without."""
    dialect, body = HEADS[request.param]
    entries = 9 if "gaussian" in request.param else 5
    (tmp_path / "tree.txt").write_text(TREE)
    (tmp_path / "coco.map").write_text("".join(f"{number}\n" for number in MAP))
    path = tmp_path / "net.cfg"
    path.write_text(cfg_text(body + "map=coco.map\n", (2 * (entries + 5), 3, 4)))
    network = dc.load(path, dialect=dialect).network
    (layer,) = network.layers
    return network, layer, replace(layer, spec=replace(layer.spec, map=""))


def values(layer):
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, *layer.in_shapes[0]), generator=generator, dtype=torch.float64)


def mapped(rows):
    return [[MAP[int(n)] if 0 <= n < len(MAP) else -1, *box] for n, *box in rows]


def cost(layer, rows, **options):
    """The total, its derivative, and the parts."""
    x = values(layer).requires_grad_()
    truths = torch.tensor([rows], dtype=torch.float64)
    report = head_loss(layer, x, truths, input_size=SIZE, seen=99_999, **options)
    (slope,) = torch.autograd.grad(report.total, x)
    return [*(part.detach() for part in vars(report).values()), slope]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_mapped_label_costs_what_its_class_costs(rule, weighted, head):
    _, layer, plain = head
    ours = cost(layer, ROWS, rule=rule, class_map=MAP, class_weights=WEIGHTS if weighted else ())
    expected = cost(plain, mapped(ROWS), rule=rule, class_weights=EXPANDED if weighted else ())
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(ours[-1], cost(plain, ROWS, rule=rule)[-1])


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_keras_costs_the_same(rule, head):
    pytest.importorskip("keras")
    from darkconv.backends.keras.losses import loss_parts

    _, layer, plain = head
    x = values(layer).numpy().astype(np.float32).transpose(0, 2, 3, 1)
    settings = {"input_size": SIZE, "rule": rule, "seen": 99_999}
    ours = loss_parts(layer, **settings, class_map=MAP, class_weights=WEIGHTS)
    expected = loss_parts(plain, **settings, class_weights=EXPANDED)
    found, wanted = (
        parts(np.array([rows], np.float32), x).total
        for parts, rows in ((ours, ROWS), (expected, mapped(ROWS)))
    )
    np.testing.assert_array_equal(np.array(found), np.array(wanted))
    (torch_total, *_) = cost(layer, ROWS, rule=rule, class_map=MAP, class_weights=WEIGHTS)
    assert float(np.array(found).sum()) == pytest.approx(float(torch_total), rel=1e-4)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_class_only_labels_name_the_classes_of_the_tree(dialect, tmp_path):
    """As in C, which looks up the labels of boxes alone."""
    (tmp_path / "tree.txt").write_text(TREE)
    (tmp_path / "net.cfg").write_text(
        cfg_text(f"{REGION}softmax=1\ntree=tree.txt\nmap=coco.map\n", (20, 3, 4))
    )
    (layer,) = dc.load(tmp_path / "net.cfg", dialect=dialect).network.layers
    plain = replace(layer, spec=replace(layer.spec, map=""))
    rows = [[4, 200_000, 200_000, 0, 0]]
    for one, other in zip(cost(layer, rows, class_map=MAP), cost(plain, rows), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_classfix_has_the_labels_own_number_in_c(tmp_path):
    path = tmp_path / "net.cfg"
    body = REGION + "softmax=1\nclassfix=1\nthresh=0.05\nmap=coco.map\n"
    path.write_text(cfg_text(body, (20, 3, 4)))
    (layer,) = dc.load(path, dialect="alexeyab").network.layers
    plain = replace(layer, spec=replace(layer.spec, map=""))
    rows = ROWS[:1]
    by_default = cost(layer, rows, class_map=MAP)[-1]
    torch.testing.assert_close(by_default, cost(plain, mapped(rows))[-1], rtol=0, atol=0)
    found, raw, meant = (
        delta.unflatten(1, (2, 10))
        for delta in (
            cost(layer, rows, class_map=MAP, rule="darknet")[-1],
            cost(plain, rows, rule="darknet")[-1],
            cost(plain, mapped(rows), rule="darknet")[-1],
        )
    )
    own = (meant[:, :, :4] != 0).any(2, keepdim=True)  # the truth's own place
    assert own.sum() == 1
    expected = torch.where(own, meant, raw)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not torch.equal(found, meant)


def test_the_objective_reads_the_map(head):
    network, layer, _ = head
    assert read_class_map(layer, network) == MAP
    objective = LabelObjective(network)
    x = values(layer)
    truths = torch.tensor([ROWS], dtype=torch.float64)
    picture = torch.zeros(1, 3, SIZE[1], SIZE[0])
    found = objective.costs({-1: x}, picture, truths, 99_999)["loss"]
    assert found == cost(layer, ROWS, class_map=MAP)[0]


def test_a_map_that_is_not_given_is_asked_for(head):
    _, layer, _ = head
    with pytest.raises(dc.DarkconvError, match=r"labels are numbered by coco.map\n.*class_map="):
        cost(layer, ROWS)


def test_a_map_that_is_missing_or_wrong_ends_before_the_training(head, tmp_path):
    network, _, _ = head
    (tmp_path / "coco.map").write_text("4\n5\n")
    with pytest.raises(dc.DarkconvError, match="map: expected class indices below 5, found 5"):
        LabelObjective(network)
    (tmp_path / "coco.map").unlink()
    with pytest.raises(dc.DarkconvError, match=r"coco.map was not found beside the cfg"):
        LabelObjective(network)


def test_weights_are_one_for_each_number_of_a_label(head):
    _, layer, _ = head
    with pytest.raises(dc.DarkconvError, match="expected 3 numbers, one for each class, found 5"):
        cost(layer, ROWS, class_map=MAP, class_weights=EXPANDED)
