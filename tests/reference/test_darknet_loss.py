"""Every loss by the rule "darknet" against the C program's delta and cost (golden/loss)."""

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from reference.loss_cases import LossCase, parametrize_cases  # noqa: E402

TOLERANCE = 1e-4
COST_TOLERANCE = 1e-5  # relative: golden/loss/README.md


def pytest_generate_tests(metafunc):
    parametrize_cases(metafunc, "case")


@pytest.fixture(scope="module")
def case(request, tmp_path_factory):
    return LossCase.read(request.param, tmp_path_factory.mktemp("case"))


def test_gradient_is_minus_the_delta_of_c(case):
    x = torch.from_numpy(case.arrays["input"]).requires_grad_()
    report = head_loss(
        case.layer,
        x,
        torch.from_numpy(case.truths),
        input_size=case.input_size,
        rule="darknet",
        seen=case.meta["seen"],
    )
    report.total.backward()
    expected = torch.from_numpy(case.gradient)
    error = (x.grad + expected).abs().max()
    assert expected.abs().max() > 0
    assert error <= TOLERANCE, f"off by {error:.2e}"
    assert report.total.item() == pytest.approx(float(case.arrays["cost"]), rel=COST_TOLERANCE)
