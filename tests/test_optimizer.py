"""Optimisers against Darknet's update rules, and what is left out of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import darkconv as dc  # noqa: E402
from darkconv.errors import DarkconvError, PlanError  # noqa: E402
from darkconv.training.freezing import freeze, frozen_layers, set_training  # noqa: E402
from darkconv.training.optimizer import OptimizerChoice, set_rate  # noqa: E402
from networks import network, random_model  # noqa: E402

CONV = "[convolutional]\nfilters={}\nsize=3\npad=1\nactivation=leaky\n{}\n"
BODY = (
    CONV.format(4, "batch_normalize=1")
    + CONV.format(4, "batch_normalize=1\nlearning_rate=2")
    + CONV.format(12, "")
    + "[yolo]\nmask=0,1\nanchors=2,3, 4,5\nclasses=1\nnum=2\n"
)
RATE, MOMENTUM, DECAY, BATCH = 0.1, 0.9, 0.01, 4


def module_of(body=BODY):
    return dc.to_torch(random_model(network(body))).train()


def options_of(module, **values):
    from dataclasses import replace

    return replace(module.network.options, momentum=MOMENTUM, decay=DECAY, **values)


def give_gradients(module, sums):
    """Sums over the batch as Darknet has them -> gradients of the mean."""
    for parameter, total in zip(module.parameters(), sums, strict=True):
        parameter.grad = total / BATCH


def test_sgd_is_darknets_update():
    module = module_of()
    optimizer = OptimizerChoice("cfg").build(module, options_of(module), BATCH)
    names = [name for name, _ in module.named_parameters()]
    weights = [p.detach().double().clone() for p in module.parameters()]
    momenta = [torch.zeros_like(w) for w in weights]
    stream = torch.Generator().manual_seed(0)
    for step in range(3):
        sums = [torch.randn(w.shape, generator=stream) for w in weights]
        give_gradients(module, sums)
        set_rate(optimizer, RATE * (step + 1))
        optimizer.step()
        for i, (w, acc) in enumerate(zip(weights, momenta, strict=True)):
            rate = RATE * (step + 1) * (2 if names[i].startswith("layers.1.") else 1)
            acc -= sums[i].double()
            if w.ndim > 1:
                acc -= DECAY * BATCH * w
            w += rate / BATCH * acc
            acc *= MOMENTUM
    for parameter, wanted in zip(module.parameters(), weights, strict=True):
        assert torch.allclose(parameter.double(), wanted, atol=1e-6)


def test_adam_is_darknets_update():
    module = module_of()
    b1, b2, eps = 0.9, 0.99, 1e-3
    options = options_of(module, adam=True, B1=b1, B2=b2, eps=eps)
    optimizer = OptimizerChoice("cfg").build(module, options, BATCH)
    name, parameter = next(iter(module.named_parameters()))
    assert name == "layers.0.conv.weight"
    w = parameter.detach().double().clone()
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    stream = torch.Generator().manual_seed(0)
    for step in (1, 2, 3):
        sums = [torch.randn(p.shape, generator=stream) for p in module.parameters()]
        give_gradients(module, sums)
        set_rate(optimizer, RATE)
        optimizer.step()
        d = -sums[0].double() - DECAY * BATCH * w
        m, v = b1 * m + (1 - b1) * d, b2 * v + (1 - b2) * d * d
        w = w + RATE * (m / (1 - b1**step)) / ((v / (1 - b2**step)).sqrt() + eps)
    assert torch.allclose(parameter.double(), w, atol=1e-6)


def test_shared_parameters_come_once():
    body = CONV.format(3, "") + CONV.format(3, "share_index=0")
    optimizer = OptimizerChoice("sgd").build(module_of(body), options_of(module_of(body)), BATCH)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        (("", "", ""), set()),
        (("", "stopbackward=1", ""), {0, 1}),
        (("dont_update=1", "", "onlyforward=1"), {0, 2}),
    ],
)
def test_the_cfg_freezes_layers(options, frozen):
    body = "".join(CONV.format(3, text) for text in options)
    assert frozen_layers(network(body)) == frozen


def test_first_layers_and_backbone_are_frozen_on_demand():
    net = network(BODY)
    assert frozen_layers(net, first=1) == {0}
    assert frozen_layers(net, backbone=True) == {0, 1}
    with pytest.raises(PlanError, match="expected 0 to 4, found 5"):
        frozen_layers(net, first=5)


def test_frozen_layers_do_not_change_at_all():
    module = module_of()
    frozen = frozen_layers(module.network, first=1)
    freeze(module, frozen)
    set_training(module, frozen)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = OptimizerChoice("adamw").build(module, options_of(module), BATCH)
    set_rate(optimizer, RATE)
    sum(value.square().mean() for value in module(torch.rand(2, 3, 8, 8))).backward()
    optimizer.step()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith("layers.0."), key


def test_train_only_bn_trains_scales_and_biases_alone():
    module = module_of(CONV.format(3, "batch_normalize=1\ntrain_only_bn=1"))
    freeze(module, frozenset())
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    assert trained == {"layers.0.bn.weight", "layers.0.bn.bias"}


def test_norms_can_be_left_in_evaluation_mode():
    module = module_of()
    set_training(module, frozenset(), norms=False)
    before = module.state_dict()["layers.0.bn.running_mean"].clone()
    module(torch.rand(2, 3, 8, 8))
    assert torch.equal(module.state_dict()["layers.0.bn.running_mean"], before)


def test_nothing_left_to_train_is_an_error():
    module = module_of()
    freeze(module, range(4))
    with pytest.raises(DarkconvError, match="every layer is frozen"):
        OptimizerChoice("sgd").build(module, options_of(module), BATCH)


def test_darknets_norm_has_the_gradient_that_its_formulas_say():
    from darkconv.backends.torch.norm import BatchNorm
    from darkconv.core.dialect import ALEXEYAB, PJREDDIE
    from darkconv.training.darknet_norm import normalize

    stream = np.random.default_rng(0)
    for dialect in (ALEXEYAB, PJREDDIE):
        norm = BatchNorm(3, dialect).double().train()
        x = torch.from_numpy(stream.normal(2.0, 3.0, (2, 3, 4, 5))).requires_grad_()
        out = normalize(norm, x)
        variance = x.detach().var((0, 2, 3), correction=1)
        assert torch.allclose(out.detach().var((0, 2, 3), correction=1), torch.ones(3).double(),
                              atol=1e-4)  # fmt: skip
        assert torch.allclose(norm.running_var, 0.99 + 0.01 * variance)
        if dialect == PJREDDIE:  # alexeyab divides by two slightly different numbers
            (gradient,) = torch.autograd.grad((out * torch.arange(5)).sum(), x)
            assert torch.allclose(gradient.sum((0, 2, 3)), torch.zeros(3).double(), atol=1e-5)
