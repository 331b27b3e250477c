"""The default rule of region, detection, softmax, logistic and cost against C's delta.

They agree wherever C's delta is the derivative of anything. The original's region is compared with
what its CUDA program passes on: delta times s' for x, y and objectness.
"""

import pytest

torch = pytest.importorskip("torch")

from darkconv.backends.torch.losses import head_loss  # noqa: E402
from darkconv.layers.head import Region  # noqa: E402
from reference.loss_cases import LossCase, parametrize_cases  # noqa: E402

TOLERANCE = 1e-4
TYPES = ("region", "detection", "softmax", "logistic", "cost")
PARTLY = {
    "pjreddie-region-background": "C's deltas of background and classes are no distribution's:"
    " object_scale counts for one of them where a truth is, elsewhere only one has a delta",
    "alexeyab-softmax-groups3": "the truths of a group do not sum to 1",
    "pjreddie-cost-smooth": "C's sign is wrong where the error is above 1",
    "pjreddie-cost-L1": "C has a slope where there is no error",
}
DIVIDED = 2.0  # the temperature of `...-temperature2`, by which C does not divide


def pytest_generate_tests(metafunc):
    parametrize_cases(metafunc, "case", TYPES.__contains__)


@pytest.fixture(scope="module")
def case(request, tmp_path_factory):
    return LossCase.read(request.param, tmp_path_factory.mktemp("case"))


def expected(case):
    """C's delta as what is passed on, and where it is the derivative of anything."""
    delta = torch.from_numpy(case.gradient)
    counts = torch.ones_like(delta, dtype=torch.bool)
    name = case.meta["name"]
    if isinstance(case.spec, Region) and case.meta["dialect"] == "pjreddie":
        delta = passed_on(case, delta)
        counts = distributions(case, delta) if case.spec.background else counts
    if name.endswith("temperature2"):
        delta = delta / DIVIDED
    truths = torch.from_numpy(case.truths)
    if name == "alexeyab-softmax-groups3":
        sums = truths.reshape(len(truths), 3, -1).sum(2, keepdim=True)
        counts = (sums == 1).expand(-1, -1, truths.shape[1] // 3).flatten(1)
    elif name == "pjreddie-cost-smooth":
        counts = (truths - torch.from_numpy(case.arrays["input"])).abs() < 1
    elif name == "pjreddie-cost-L1":
        counts = truths != torch.from_numpy(case.arrays["input"])
    return delta, counts


def passed_on(case, delta):
    """The original's delta behind the sigmoids of x, y and objectness."""
    entries = torch.from_numpy(case.arrays["input"]).unflatten(1, (case.spec.num, -1))
    slopes = torch.ones_like(entries)
    squashed = [0, 1] if case.spec.background else [0, 1, 4]
    p = entries[:, :, squashed].sigmoid()
    slopes[:, :, squashed] = p * (1 - p)
    return delta * slopes.flatten(1, 2)


def distributions(case, delta):
    """With `background`: boxes, classes where a truth is, the background elsewhere."""
    entries = delta.unflatten(1, (case.spec.num, -1))
    matched = (entries[:, :, 5:] != 0).any(2)
    counts = torch.ones_like(entries, dtype=torch.bool)
    counts[:, :, 4] = ~matched
    counts[:, :, 5:] = matched.unsqueeze(2)
    return counts.flatten(1, 2)


def test_the_derivative_is_minus_the_delta_of_c(case):
    x = torch.from_numpy(case.arrays["input"]).requires_grad_()
    truths = torch.from_numpy(case.truths)
    seen = case.meta["seen"]
    report = head_loss(case.layer, x, truths, input_size=case.input_size, seen=seen)
    report.total.backward()
    delta, counts = expected(case)
    error = (x.grad + delta)[counts].abs().max()
    assert delta[counts].abs().max() > 0
    assert counts.all() == (case.meta["name"] not in PARTLY)
    assert error <= TOLERANCE, f"off by {error:.2e}"
