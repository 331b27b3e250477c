"""Every Keras loss against golden/loss: C by the rule "darknet", torch by the default one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from keras_gradients import PARTS, costs_and_gradient  # noqa: E402
from reference.loss_cases import LossCase, parametrize_cases  # noqa: E402

TOLERANCE = 1e-4
TORCH_TOLERANCE = 1e-5
COST_TOLERANCE = 1e-5  # relative: golden/loss/README.md


def pytest_generate_tests(metafunc):
    parametrize_cases(metafunc, "case")


@pytest.fixture(scope="module")
def case(request, tmp_path_factory):
    return LossCase.read(request.param, tmp_path_factory.mktemp("case"))


def keras_loss(case, rule):
    arrays, setting = case.arrays, {"input_size": case.input_size, "seen": case.meta["seen"]}
    return costs_and_gradient(case.layer, arrays["input"], case.truths, rule=rule, **setting)


def test_gradient_is_minus_the_delta_of_c(case):
    found, gradient = keras_loss(case, "darknet")
    error = np.abs(gradient + case.gradient).max()
    assert np.abs(case.gradient).max() > 0
    assert error <= TOLERANCE, f"off by {error:.2e}"
    cost = float(found["total"].astype(np.float64).sum())
    assert cost == pytest.approx(float(case.arrays["cost"]), rel=COST_TOLERANCE)


def test_default_rule_is_that_of_torch(case):
    found, gradient = keras_loss(case, "default")
    x = torch.from_numpy(case.arrays["input"]).requires_grad_()
    truths = torch.from_numpy(case.truths)
    setting = {"input_size": case.input_size, "seen": case.meta["seen"]}
    report = head_loss(case.layer, x, truths, **setting)
    report.total.backward()
    error = np.abs(gradient - x.grad.numpy()).max()
    assert error <= TORCH_TOLERANCE, f"off by {error:.2e}"
    assert np.abs(gradient).max() > 0
    for name in PARTS:
        expected = getattr(report, name).item()
        # TensorFlow's softplus has the absolute error of a float32 near 1
        rounding = 1e-7 * x.numel()
        assert found[name].sum() == pytest.approx(expected, rel=COST_TOLERANCE, abs=rounding), name
