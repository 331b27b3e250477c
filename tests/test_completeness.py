"""What each spoke builds, and what it refuses with a reason."""

import pytest

from darkconv import layers as _layers  # noqa: F401
from darkconv.core.spec import LAYER_TYPES
from darkconv.layers.activation import ACTIVATIONS

REFUSED = {
    "torch": {},
    "onnx": {},
}


def builders(backend):
    pytest.importorskip({"torch": "torch", "onnx": "onnx_ir"}[backend])
    from importlib import import_module

    import_module(f"darkconv.backends.{backend}")
    return import_module(f"darkconv.backends.{backend}.registry").BUILDERS


@pytest.mark.parametrize("section", sorted(LAYER_TYPES))
@pytest.mark.parametrize("backend", sorted(REFUSED))
def test_every_section_is_built_or_refused_with_a_reason(backend, section):
    spec = LAYER_TYPES[section]
    is_built = spec in builders(backend).functions
    assert is_built == (spec.type not in REFUSED[backend])


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "linear"])
def test_every_activation_has_a_formula_in_each_spoke(name):
    pytest.importorskip("torch")
    pytest.importorskip("onnx_ir")
    from darkconv.backends.onnx.activation import FORMULAS
    from darkconv.backends.torch.activation import FUNCTIONS

    assert name in FUNCTIONS
    assert name in FORMULAS


def test_registering_twice_is_an_error():
    from darkconv.core.spec import layer
    from darkconv.layers.inert import Dropout

    with pytest.raises(ValueError, match=r"\[dropout\] is registered twice"):
        layer("dropout")(Dropout)
    with pytest.raises(ValueError, match="Dropout is registered twice for torch"):
        builders("torch").register(Dropout)(print)
