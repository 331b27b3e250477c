"""The losses of [softmax], [logistic] and [cost]: least at the truth, with true derivatives."""

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.backends.torch.losses.classifier import UNKNOWN  # noqa: E402
from darkconv.core.tree import Tree  # noqa: E402
from darkconv.errors import DarkconvError, GraphError, OptionError  # noqa: E402
from networks import network  # noqa: E402

VALUES = 6
TREE = Tree(("animal", "vehicle", "dog", "cat", "car", "bus"), (-1, -1, 0, 0, 1, 1))


def head(section, dialect="pjreddie", *, trees=None, **options):
    """A network of one layer."""
    body = f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())
    return network(body, (VALUES, 1, 1), dialect, trees=trees or {})


SPECS = {
    "softmax": head("softmax"),
    "temperature": head("softmax", "alexeyab", temperature=2),
    "groups": head("softmax", groups=2),
    "tree": head("softmax", tree="tree.txt", trees={"tree.txt": TREE}),
    "logistic": head("logistic"),
    "sse": head("cost", scale=3),
    "masked": head("cost", "alexeyab", type="masked"),
    "smooth": head("cost", type="smooth", scale=0.5),
    "L1": head("cost", type="L1"),
}
TRUTHS = {
    "groups": [0.0, 1, 0, 0, 0, 1],
    "tree": [1, 0, 0, 1, UNKNOWN, UNKNOWN],
    "logistic": [0, 1, 0, 1, 0.3, 0],
    "sse": [0.5, -2.0, 3.0, 0, 1, 0],
    "masked": [0.5, UNKNOWN, 3.0, 0, UNKNOWN, 0],
    "smooth": [0.5, -2.0, 3.0, 0, 1, 0],
    "L1": [0.5, -2.0, 3.0, 0, 1, 0],
}
ONE_HOT = [0.0, 0, 0, 1, 0, 0]
each_head = pytest.mark.parametrize("name", SPECS)


def values(*, images=1, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((images, VALUES), generator=generator, dtype=dtype)


def truths_of(name, images=1):
    return torch.tensor([TRUTHS.get(name, ONE_HOT)], dtype=torch.float64).repeat(images, 1)


def loss(net, x, truths, **options):
    return head_loss(net.layers[0], x, truths, input_size=(1, 1), **options)


def slope(net, x, truths, **options):
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(net, x, truths, **options).total, x)
    return found


def perfect(name):
    """Values that say the truths."""
    truths = truths_of(name)
    if name == "logistic":
        return torch.logit(truths, eps=1e-9)
    return truths if SPECS[name].layers[0].type == "cost" else 40 * truths.clamp(min=0)


@each_head
def test_a_perfect_prediction_costs_next_to_nothing(name):
    found = loss(SPECS[name], perfect(name), truths_of(name))
    assert found.total == pytest.approx(0, abs=1e-6)


def test_soft_truths_cost_nothing_where_they_are_met():
    truths = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.0, 0.0]], dtype=torch.float64)
    x = truths.clamp(min=1e-12).log()
    assert loss(SPECS["softmax"], x, truths).total == pytest.approx(0, abs=1e-9)
    assert loss(SPECS["softmax"], x + values(), truths).total > 0


def test_several_truths_of_a_group_cost_nothing_where_they_share_it():
    truths = torch.tensor([[1.0, 1, 0, 0, 0, 1]], dtype=torch.float64)
    assert loss(SPECS["groups"], 40 * truths, truths).total == pytest.approx(0, abs=1e-9)


@each_head
def test_the_derivative_is_that_of_the_number(name):
    x = (values() * 0.7).requires_grad_()
    truths = truths_of(name)
    assert torch.autograd.gradcheck(lambda x: loss(SPECS[name], x, truths).total, x)


def test_the_temperature_divides_what_is_passed_back():
    x, truths = values(), truths_of("softmax")
    found = slope(SPECS["temperature"], x, truths)
    torch.testing.assert_close(found, ((x / 2).softmax(1) - truths) / 2)
    found = slope(SPECS["temperature"], x, truths, rule="darknet")
    torch.testing.assert_close(found, (x / 2).softmax(1) - truths)


def test_cross_entropy_is_weighted_by_its_truths():
    x, truths = values(), torch.tensor([[0.25, 0.75, 0, 0, 0, 0]], dtype=torch.float64)
    entropy = -(truths * truths.log().nan_to_num(0, 0, 0)).sum()
    logs = x.log_softmax(1)
    found = loss(SPECS["softmax"], x, truths).total
    torch.testing.assert_close(found, -(truths * logs).sum() - entropy)
    printed = loss(SPECS["softmax"], x, truths, rule="darknet").total
    torch.testing.assert_close(printed, -logs[0, :2].sum())


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_tree_has_a_softmax_for_each_group_with_a_truth(rule):
    x, truths = values(), truths_of("tree")
    found = slope(SPECS["tree"], x, truths, rule=rule)
    p = torch.cat([part.softmax(1) for part in x.split(2, 1)], 1)
    wanted = torch.where(truths == UNKNOWN, 0, p - truths)
    torch.testing.assert_close(found, wanted)
    cost = -p[0, [0, 3]].log().sum()
    torch.testing.assert_close(loss(SPECS["tree"], x, truths, rule=rule).total, cost)


def test_groups_without_a_truth_are_pushed_down_by_c_alone():
    x, truths = values(), truths_of("tree").clamp(min=0)
    p = torch.cat([part.softmax(1) for part in x.split(2, 1)], 1)
    assert (slope(SPECS["tree"], x, truths)[0, 4:] == 0).all()
    torch.testing.assert_close(slope(SPECS["tree"], x, truths, rule="darknet"), p - truths)


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_noloss_costs_nothing(rule):
    net, x = head("softmax", noloss=1), values()
    assert loss(net, x, truths_of("softmax"), rule=rule).total == 0
    assert (slope(net, x, truths_of("softmax"), rule=rule) == 0).all()


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_kept_values_have_the_truths(rule):
    net, x = head("softmax", keep_classes="4,1"), values()
    found = slope(net, x, torch.tensor([[1.0, 0.0]]), rule=rule)
    wanted = slope(SPECS["softmax"], x, torch.tensor([[0.0, 0, 0, 0, 1, 0]]), rule=rule)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_masked_values_cost_nothing(rule):
    x, truths = values(), truths_of("masked")
    found = slope(SPECS["masked"], x, truths, rule=rule)
    torch.testing.assert_close(found, torch.where(truths == UNKNOWN, 0, x - truths))


def test_large_errors_of_smooth_have_the_right_sign_but_in_the_original():
    x, truths = torch.zeros(1, VALUES).double(), truths_of("smooth")
    fork = head("cost", "alexeyab", type="smooth", scale=0.5)
    wanted = -0.5 * truths.clamp(-1, 1)
    for net in (SPECS["smooth"], fork):
        torch.testing.assert_close(slope(net, x, truths), wanted)
    torch.testing.assert_close(slope(fork, x, truths, rule="darknet"), wanted)
    slip = torch.where(truths.abs() > 1, -wanted, wanted)  # at 1 the sign is the original's too
    slip[truths == 1] *= -1
    torch.testing.assert_close(slope(SPECS["smooth"], x, truths, rule="darknet"), slip)


def test_no_error_has_no_slope_but_in_c():
    truths = truths_of("L1")
    assert (slope(SPECS["L1"], truths, truths) == 0).all()
    assert (slope(SPECS["L1"], truths, truths, rule="darknet") == 1).all()


@pytest.mark.parametrize("kind", ["L1", "wgan"])
def test_a_type_that_the_fork_does_not_know_is_sse(kind):
    net, x, truths = head("cost", "alexeyab", type=kind, scale=3), values(), truths_of("sse")
    for rule in ("default", "darknet"):
        wanted = loss(SPECS["sse"], x, truths, rule=rule).total
        assert loss(net, x, truths, rule=rule).total == wanted


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_a_batch_costs_what_its_images_cost(name, rule):
    net, x, truths = SPECS[name], values(images=3), truths_of(name, 3)
    alone = sum(loss(net, x[i : i + 1], truths[i : i + 1], rule=rule).total for i in range(3))
    found = loss(net, x, truths, rule=rule)
    torch.testing.assert_close(found.total, alone)
    assert found.classes == found.total
    assert found.box == found.objectness == found.no_object == found.iou == found.recall == 0


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_inputs_give_finite_numbers(name, rule, size):
    x = (values(dtype=torch.float32) * size).requires_grad_()
    found = loss(SPECS[name], x, truths_of(name), rule=rule)
    found.total.backward()
    assert torch.isfinite(found.total)
    assert torch.isfinite(x.grad).all()


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_class_weights_scale_what_a_picture_costs(name, rule):
    net, x, truths = SPECS[name], values(images=2), truths_of(name, 2)
    truths[0], truths[1] = torch.tensor([ONE_HOT, ONE_HOT[::-1]])
    found = slope(net, x, truths, rule=rule, class_weights=(1.0, 1.0, 3.0, 5.0, 1.0, 1.0))
    wanted = slope(net, x, truths, rule=rule) * torch.tensor([[5.0], [3.0]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_pictures_without_a_class_weigh_1(rule):
    net, x, truths = SPECS["logistic"], values(), torch.zeros(1, VALUES)
    weighted = loss(net, x, truths, rule=rule, class_weights=(2.0,) * VALUES).total
    assert weighted == loss(net, x, truths, rule=rule).total


@pytest.mark.parametrize("name", ["softmax", "logistic", "sse"])
def test_class_weights_of_another_length_are_refused(name):
    with pytest.raises(OptionError, match=r"class_weights: expected 6 numbers.*found 2"):
        loss(SPECS[name], values(), truths_of(name), class_weights=(1.0, 2.0))


@pytest.mark.parametrize("name", ["softmax", "logistic", "sse"])
def test_truths_of_another_shape_are_refused(name):
    with pytest.raises(DarkconvError, match=r"layer 0 \[.*expected truths of shape \(1, 6\)"):
        loss(SPECS[name], values(), torch.zeros(1, 1))


def test_a_tree_of_another_size_is_refused():
    net = head("softmax", tree="tree.txt", trees={"tree.txt": Tree(("a",), (-1,))})
    with pytest.raises(GraphError, match=r"tree: expected a tree of 6 classes, found 1"):
        loss(net, values(), truths_of("softmax"))


@each_head
@pytest.mark.parametrize("rule", ["default", "darknet"])
def test_low_precision_is_computed_in_float32(name, rule):
    x, truths = values(dtype=torch.bfloat16).requires_grad_(), truths_of(name)
    found = loss(SPECS[name], x, truths, rule=rule)
    torch.testing.assert_close(found.total, loss(SPECS[name], x.float(), truths, rule=rule).total)
    assert found.total.dtype == torch.float32
    found.total.backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", ["softmax", "temperature", "groups", "tree", "logistic"])
def test_fitted_values_say_the_truths(name):
    net, truths = SPECS[name], truths_of(name)
    x = torch.zeros(1, VALUES, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([x], lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        loss(net, x, truths).total.backward()
        optimizer.step()
    known = truths != UNKNOWN
    size = {"groups": 3, "tree": 2}.get(name, VALUES)
    p = torch.cat([part.softmax(1) for part in x.split(size, 1)], 1)
    p = x.sigmoid() if name == "logistic" else p
    torch.testing.assert_close(p[known], truths[known], atol=0.05, rtol=0)
