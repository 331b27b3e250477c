"""Modules in half precision: under autocast, as training uses it, and wholly."""

import pytest

pytest.importorskip("torch")

import torch

from darkconv.backends.torch import to_torch
from networks import MICRO, micro_model

SHARE = 0.1
"""Of the largest value, by which half precision may be off; 8 bits of a bfloat16 add up."""


@pytest.fixture(scope="module", params=MICRO, ids=lambda folder: folder.name)
def case(request):
    """A model, the layers that heads read or else the outputs, pictures, and their values."""
    model, wanted = micro_model(request.param)
    torch.manual_seed(0)
    x = torch.rand(2, *model.network.input_shape)
    with torch.no_grad():
        return model, wanted, x, to_torch(model).select(x, wanted)


def assert_near(found, expected):
    for index, values in expected.items():
        error = (found[index].double() - values.double()).abs().max()
        assert error <= SHARE * values.abs().max() + 1e-6, f"layer {index}"


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=["bf16", "16"])
def test_inference_under_autocast(case, kind):
    model, wanted, x, expected = case
    with torch.no_grad(), torch.autocast("cpu", kind):
        assert_near(to_torch(model).select(x, wanted), expected)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=["bf16", "16"])
def test_training_under_autocast(case, kind):
    model, wanted, x, _ = case
    module = to_torch(model).train()
    with torch.autocast("cpu", kind):
        values = module.select(x, wanted)
    total = sum(value.float().mean() for value in values.values())
    if total.requires_grad:
        total.backward()
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert bool(total.isfinite())


def test_whole_modules_in_bfloat16(case):
    """Not in float16: a batch norm of variance 0 divides by 1e-6 in pjreddie's dialect."""
    model, wanted, x, expected = case
    with torch.no_grad():
        module = to_torch(model).to(torch.bfloat16)
        assert_near(module.select(x.to(torch.bfloat16), wanted), expected)
